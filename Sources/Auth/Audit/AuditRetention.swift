import Crypto
import Logging
import Storage

/// Closes the part of the audit log that is older than `audit.kept_days`: exports it, signs what it was, and only then removes
/// it in small steps.
struct AuditRetention: Sendable {
    /// Of a segment; more rows make more segments.
    static let segmentRowsMax = 50_000
    /// A segment that is not full is closed so often at most, so that there are not many small files.
    static let segmentSecondsMin: Int64 = 86_400
    static let pageRows = 100
    static let removedBatchMax = 32

    let services: Services
    /// Where the files go.
    let directory: String

    /// Harmless when two nodes do it: the number of a segment decides.
    func run() async throws {
        try await removeClosed()
        let days = try await services.settings().count("audit.kept_days")
        guard days > 0 else { return }
        let limit = services.clock.now().advanced(bySeconds: -days * 86_400)
        while try await closeNext(before: limit) { try await removeClosed() }
    }

    /// Finishes the segments that a crash or an earlier run has left closed but not removed.
    private func removeClosed() async throws {
        guard let last = try await services.db.read({ tx in try tx.lastAuditSegment() })?.last else { return }
        try await Steps(db: services.db).run(rowsMax: Self.removedBatchMax) { tx, rows in
            try tx.removeAuditRows(through: last, count: rows)
        }
    }

    /// Exports and closes the oldest rows that are over; false when there is nothing to close.
    private func closeNext(before limit: Timestamp) async throws -> Bool {
        let former = try await services.db.read { tx in try tx.lastAuditSegment() }
        guard try await isDue(after: former, before: limit) else { return false }
        let file = AuditSegmentFile((former?.number ?? 0) + 1, in: directory)
        try await file.begin()
        guard let export = try await export(after: former, before: limit, to: file) else { return false }
        let segment = try services.auditKey.signed(
            AuditSegment(
                number: (former?.number ?? 0) + 1,
                first: (former?.last ?? 0) + 1,
                last: export.last,
                formerLink: former?.link,
                link: export.link,
                rows: export.rows,
                closedAt: services.clock.now()
            )
        )
        try await file.finish(segment.line)
        // Only now: a segment whose record is stored is on disk as a whole.
        return try await services.db.write { [services] tx in
            guard try tx.insertAuditSegment(segment) else { return false }
            try tx.audit(
                .segmentClosed,
                by: .server,
                details: [
                    "segment": .integer(segment.number), "first": .integer(segment.first),
                    "last": .integer(segment.last),
                ],
                services
            )
            return true
        }
    }

    private func isDue(after former: AuditSegment?, before limit: Timestamp) async throws -> Bool {
        let start = former?.last ?? 0
        let (first, lastOfFull) = try await services.db.read { tx in
            (
                try tx.linkedAuditRecords(after: start, count: 1).first,
                try tx.linkedAuditRecords(after: start + Int64(Self.segmentRowsMax) - 1, count: 1).first
            )
        }
        guard let first, first.record.at < limit else { return false }
        if let lastOfFull, lastOfFull.record.at < limit { return true }
        guard let closedAt = former?.closedAt else { return true }
        // Below zero after a clock was set back.
        return !(0..<Self.segmentSecondsMin).contains(services.clock.now().seconds(since: closedAt))
    }

    /// Nil, and an error in the log, when the rows are not as they were written: nothing is removed then.
    private func export(after former: AuditSegment?, before limit: Timestamp, to file: AuditSegmentFile) async throws
        -> (last: Int64, link: Digest, rows: Digest)?
    {
        var (position, link, hash) = (former?.last ?? 0, former?.link, SHA256())
        let end = position + Int64(Self.segmentRowsMax)
        var isMore = true
        while isMore {
            let after = position
            let page = try await services.db.read { tx in
                try tx.linkedAuditRecords(after: after, count: Self.pageRows)
            }
            var bytes: [UInt8] = []
            for row in page {
                guard row.record.at < limit, position < end else {
                    isMore = false
                    break
                }
                if let problem = AuditVerification(services: services).problem(with: row, at: position + 1, after: link)
                {
                    services.logger.error(
                        "The audit log is not as it was written; no rows are removed. Run `latchkey audit verify`.",
                        metadata: ["cause": "\(problem)"]
                    )
                    return nil
                }
                (position, link) = (position + 1, row.link)
                bytes += row.line
            }
            isMore = isMore && !page.isEmpty
            hash.update(data: bytes)
            if !bytes.isEmpty { try await file.append(bytes) }
        }
        guard let link, position > former?.last ?? 0 else { return nil }
        return (position, link, Digest(hash: hash.finalize()))
    }
}
