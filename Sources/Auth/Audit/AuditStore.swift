import OrderedCollections
import Storage

enum AuditOutcome: String, Sendable, SQLConvertible {
    case success
    case failure
}

extension Transaction {
    /// Appends one row, if the event's budget has room for it (``AuditBudget``).
    ///
    /// `details` must hold no secret, and nothing that somebody typed into a sign-in form: it may be a password in the
    /// wrong field.
    func audit(
        _ event: AuditEvent,
        by actor: Actor,
        on subject: UserID? = nil,
        outcome: AuditOutcome = .success,
        details: AuditDetails = [:],
        _ services: Services
    ) throws {
        let now = services.clock.now()
        guard try admitAuditRow(event, by: actor, on: subject, at: now, services) else { return }
        let details = actor.apiKey.map { details.with("api_key", .string($0.rawValue)) } ?? details
        let record = AuditRecord(
            id: Identifier(at: now, random: services.random),
            at: now,
            action: event.rawValue,
            actorID: actor.id?.rawValue,
            subjectID: subject?.rawValue,
            impersonatedBy: actor.impersonatedBy?.rawValue,
            ip: actor.client.address,
            userAgent: actor.client.userAgent,
            outcome: outcome,
            details: details.serialized
        )
        try execute(
            """
            INSERT INTO audit_log
                (id, at, action, actor_id, subject_id, auth_impersonated_by, ip, user_agent, outcome, details, mac)
            VALUES (\(record.id), \(record.at), \(record.action), \(record.actorID), \(record.subjectID),
                \(record.impersonatedBy), \(record.ip), \(record.userAgent), \(record.outcome), \(record.details),
                \(services.auditKey.mac(of: record)))
            """
        )
    }

    /// Rows that are not linked yet, in the order in which they were written.
    func unlinkedAuditRecords(after sequence: Int64 = 0, count: Int) throws -> [ChainedAuditRecord] {
        try all(
            """
            SELECT * FROM audit_log WHERE position IS NULL AND sequence > \(sequence) ORDER BY sequence LIMIT \(count)
            """
        ).map(ChainedAuditRecord.init)
    }

    func linkedAuditRecords(after position: Int64, count: Int) throws -> [ChainedAuditRecord] {
        try all(
            "SELECT * FROM audit_log WHERE position > \(position) ORDER BY position LIMIT \(count)"
        ).map(ChainedAuditRecord.init)
    }

    /// Of the newest linked row, also when it was exported and removed.
    func lastAuditLink() throws -> (position: Int64, link: Digest)? {
        let last = try one(
            "SELECT position, link FROM audit_log WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1"
        )
        if let last { return (try last.get("position"), try last.get("link")) }
        return try lastAuditSegment().map { ($0.last, $0.link) }
    }

    /// False when the row was linked meanwhile.
    func linkAuditRecord(_ sequence: Int64, _ mac: Digest, at position: Int64, _ link: Digest) throws -> Bool {
        try execute(
            """
            UPDATE audit_log SET mac = \(mac), position = \(position), link = \(link)
            WHERE sequence = \(sequence) AND position IS NULL
            """
        ) == 1
    }
}
