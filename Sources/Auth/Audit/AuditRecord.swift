import Storage

/// A row of the audit log.
struct AuditRecord: Sendable {
    let id: Identifier<AuditEvent>
    let at: Timestamp
    let action: String
    let actorID: String?
    let subjectID: String?
    let impersonatedBy: String?
    let ip: String
    let userAgent: String?
    let outcome: AuditOutcome
    /// A JSON object, as it is stored.
    let details: String

    /// Every field with its length, so that no two rows have the same bytes.
    var canonical: [UInt8] {
        AuditKey.encode([
            id.rawValue, String(at.milliseconds), action, actorID, subjectID, impersonatedBy, ip, userAgent,
            outcome.rawValue, details,
        ])
    }

    var json: JSON {
        [
            "id": .string(id.rawValue), "at": at.json, "action": .string(action), "actor_id": .optional(actorID),
            "subject_id": .optional(subjectID), "auth_impersonated_by": .optional(impersonatedBy), "ip": .string(ip),
            "user_agent": .optional(userAgent), "outcome": .string(outcome.rawValue),
            "details": JSON(stored: details) ?? .null,
        ]
    }
}

/// A row with its place in the chain.
struct ChainedAuditRecord: Sendable {
    let record: AuditRecord
    let sequence: Int64
    /// Nil for rows of versions that made none.
    let mac: Digest?
    /// From 1, without gaps; nil until the row is linked.
    let position: Int64?
    let link: Digest?
}

extension ChainedAuditRecord {
    init(_ row: Row) throws {
        record = AuditRecord(
            id: try row.get("id"),
            at: try row.get("at"),
            action: try row.get("action"),
            actorID: try row.get("actor_id"),
            subjectID: try row.get("subject_id"),
            impersonatedBy: try row.get("auth_impersonated_by"),
            ip: try row.get("ip"),
            userAgent: try row.get("user_agent"),
            outcome: try row.get("outcome"),
            details: try row.get("details")
        )
        sequence = try row.get("sequence")
        mac = try row.get("mac")
        position = try row.get("position")
        link = try row.get("link")
    }
}
