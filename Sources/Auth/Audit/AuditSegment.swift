import Crypto
import Storage

/// A stretch of the audit log that was exported and removed: where it began and ended, and what its rows were, signed.
///
/// The segments continue each other, and the rows that are still in the log continue the last one.
struct AuditSegment: Sendable, Equatable {
    /// From 1, without gaps.
    let number: Int64
    /// The positions of its first row and its last.
    let first: Int64
    let last: Int64
    /// The link of the row before its first; nil for the first segment.
    let formerLink: Digest?
    /// The link of its last row.
    let link: Digest
    /// SHA-256 of its rows as they were exported.
    let rows: Digest
    let closedAt: Timestamp
    /// The public key, 32 bytes.
    var key: [UInt8] = []
    var signature: [UInt8] = []

    var signed: [UInt8] {
        AuditKey.encode([
            "latchkey audit segment", String(number), String(first), String(last),
            formerLink.map { Hex.encode($0.bytes) },
            Hex.encode(link.bytes), Hex.encode(rows.bytes), String(closedAt.milliseconds),
        ])
    }

    /// The last line of its file.
    var line: [UInt8] {
        let json: JSON = [
            "segment": .integer(number), "first": .integer(first), "last": .integer(last),
            "former_link": .optional(formerLink.map { Base64URL.encode($0.bytes) }),
            "link": .string(Base64URL.encode(link.bytes)), "rows": .string(Base64URL.encode(rows.bytes)),
            "closed_at": closedAt.json, "key": .string(Base64URL.encode(key)),
            "signature": .string(Base64URL.encode(signature)),
        ]
        return Array(json.serialized.utf8) + [UInt8(ascii: "\n")]
    }

    /// The name of its file.
    var fileName: String { Self.fileName(number) }

    static func fileName(_ number: Int64) -> String {
        let digits = String(number)
        return "segment-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits + ".jsonl"
    }

    /// A sentence about the fault of this segment behind `former`; nil when there is none.
    func problem(after former: AuditSegment?, _ auditKey: AuditKey) -> String? {
        let expected = (former?.number ?? 0) + 1
        guard number == expected else {
            return "Segment \(expected) is missing; the next one is segment \(number)."
        }
        guard auditKey.hasSigned(self) else {
            return "Segment \(number) was altered, or not closed by this installation."
        }
        guard first == (former?.last ?? 0) + 1, last >= first, formerLink == former?.link else {
            return "Segment \(number) doesn't continue the one before it."
        }
        return nil
    }
}

extension AuditKey {
    func signed(_ segment: AuditSegment) throws -> AuditSegment {
        var segment = segment
        (segment.key, segment.signature) = try sign(segment.signed)
        return segment
    }

    /// Whether this installation has signed it.
    func hasSigned(_ segment: AuditSegment) -> Bool { isSigned(segment.signed, by: segment.signature) }
}

extension ChainedAuditRecord {
    /// A line of an exported segment: everything that the MAC and the link were made of.
    var line: [UInt8] {
        let json: JSON = [
            "position": position.map(JSON.integer) ?? .null, "at": .integer(record.at.milliseconds),
            "id": .string(record.id.rawValue), "action": .string(record.action),
            "actor_id": .optional(record.actorID), "subject_id": .optional(record.subjectID),
            "auth_impersonated_by": .optional(record.impersonatedBy), "ip": .string(record.ip),
            "user_agent": .optional(record.userAgent), "outcome": .string(record.outcome.rawValue),
            "details": .string(record.details),
            "mac": .optional(mac.map { Base64URL.encode($0.bytes) }),
            "link": .optional(link.map { Base64URL.encode($0.bytes) }),
        ]
        return Array(json.serialized.utf8) + [UInt8(ascii: "\n")]
    }
}
