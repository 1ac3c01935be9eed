import Storage

extension Transaction {
    func lastAuditSegment() throws -> AuditSegment? {
        try one("SELECT * FROM audit_segments ORDER BY number DESC LIMIT 1").map(AuditSegment.init)
    }

    func auditSegments(after number: Int64, count: Int) throws -> [AuditSegment] {
        try all(
            "SELECT * FROM audit_segments WHERE number > \(number) ORDER BY number LIMIT \(count)"
        ).map(AuditSegment.init)
    }

    /// False when another node has closed one with this number.
    func insertAuditSegment(_ segment: AuditSegment) throws -> Bool {
        try execute(
            """
            INSERT INTO audit_segments (number, first_position, last_position, former_link, last_link, row_digest, closed_at,
                signing_key, signature)
            VALUES (\(segment.number), \(segment.first), \(segment.last), \(segment.formerLink), \(segment.link),
                \(segment.rows), \(segment.closedAt), \(segment.key), \(segment.signature))
            ON CONFLICT (number) DO NOTHING
            """
        ) == 1
    }

    /// Removes linked rows up to a position, at most `count`, and tells how many.
    func removeAuditRows(through position: Int64, count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM audit_log WHERE sequence IN (
                SELECT sequence FROM audit_log WHERE position <= \(position) ORDER BY position LIMIT \(count)
            )
            """
        )
    }
}

extension AuditSegment {
    fileprivate init(_ row: Row) throws {
        self.init(
            number: try row.get("number"),
            first: try row.get("first_position"),
            last: try row.get("last_position"),
            formerLink: try row.get("former_link"),
            link: try row.get("last_link"),
            rows: try row.get("row_digest"),
            closedAt: try row.get("closed_at"),
            key: try row.get("signing_key"),
            signature: try row.get("signature")
        )
    }
}
