import Storage

/// Goes through the whole audit log and finds the first row that is not as it was written.
struct AuditVerification: Sendable {
    static let batchMax = 1000

    let services: Services

    struct Report: Sendable {
        /// Rows in the chain that are as they were written, counted from the first, with those of closed segments.
        var linked: Int64 = 0
        /// Closed segments, and the last row in them.
        var segments: Int64 = 0
        var closed: Int64 = 0
        /// Rows behind it that wait to be linked.
        var waiting = 0
        /// What is wrong, as a sentence; nil when nothing is.
        var problem: String?
    }

    /// `checkpoint` is one that was kept elsewhere, `segments` a directory with the files of the closed segments, which are
    /// looked at when it is given.
    func run(
        against checkpoint: AuditCheckpoint?,
        segments directory: String? = nil,
        progress: @Sendable (Int64) -> Void = { _ in }
    ) async throws -> Report {
        var report = Report()
        if let checkpoint, !services.auditKey.hasSigned(checkpoint) {
            report.problem = "The checkpoint was not signed by this installation, or was altered."
            return report
        }
        var link = try await checkSegments(in: directory, against: checkpoint, &report)
        guard report.problem == nil else { return report }
        while true {
            let after = report.linked
            let rows = try await services.db.read { tx in
                try tx.linkedAuditRecords(after: after, count: Self.batchMax)
            }
            if rows.isEmpty { break }
            for row in rows {
                if let problem = problem(with: row, at: report.linked + 1, after: link) {
                    report.problem = problem
                    return report
                }
                link = row.link
                report.linked += 1
                if let checkpoint, checkpoint.position == report.linked, checkpoint.link != row.link {
                    report.problem =
                        "Row \(report.linked) is not the one of the checkpoint of \(checkpoint.time.rfc3339)."
                    return report
                }
            }
            progress(report.linked)
        }
        if let checkpoint, checkpoint.position > report.linked {
            report.problem =
                "The log ends with row \(report.linked), but had \(checkpoint.position) at \(checkpoint.time.rfc3339): rows at its end were removed."
            return report
        }
        return try await withWaiting(report)
    }

    /// Goes through the closed segments, and tells the link of the last one's last row.
    private func checkSegments(
        in directory: String?,
        against checkpoint: AuditCheckpoint?,
        _ report: inout Report
    ) async throws -> Digest? {
        var former: AuditSegment?
        while true {
            let after = former?.number ?? 0
            let page = try await services.db.read { tx in try tx.auditSegments(after: after, count: Self.batchMax) }
            if page.isEmpty { return former?.link }
            for segment in page {
                report.problem =
                    try segment.problem(after: former, services.auditKey)
                    ?? problem(with: segment, in: directory, against: checkpoint)
                guard report.problem == nil else { return nil }
                (report.segments, report.closed, report.linked) = (segment.number, segment.last, segment.last)
                former = segment
            }
        }
    }

    private func problem(with segment: AuditSegment, in directory: String?, against checkpoint: AuditCheckpoint?) throws
        -> String?
    {
        let inside = checkpoint.flatMap { (segment.first...segment.last).contains($0.position) ? $0 : nil }
        if let directory {
            return try AuditSegmentFile(segment.number, in: directory).problem(as: segment, inside)
        }
        guard let inside else { return nil }
        guard inside.position == segment.last else {
            return
                "The checkpoint lies in the closed segment \(segment.number): name the directory of its file to compare it."
        }
        return inside.link == segment.link
            ? nil : "Row \(inside.position) is not the one of the checkpoint of \(inside.time.rfc3339)."
    }

    func problem(with row: ChainedAuditRecord, at position: Int64, after former: Digest?) -> String? {
        guard row.position == position else {
            return "Row \(position) is missing; the next one is row \(row.position ?? 0), \(name(row))."
        }
        guard let mac = row.mac, mac == services.auditKey.mac(of: row.record) else {
            return "Row \(position), \(name(row)), was altered, or not written by this installation."
        }
        guard row.link == services.auditKey.link(mac, at: position, after: former) else {
            return "Row \(position), \(name(row)), doesn't belong there: rows were removed, added or moved."
        }
        return nil
    }

    private func withWaiting(_ checked: Report) async throws -> Report {
        var report = checked
        var sequence: Int64 = 0
        while true {
            let after = sequence
            let rows = try await services.db.read { tx in
                try tx.unlinkedAuditRecords(after: after, count: Self.batchMax)
            }
            guard let last = rows.last else { return report }
            sequence = last.sequence
            for row in rows {
                let isOld = row.mac == nil && report.linked == 0
                guard isOld || row.mac == services.auditKey.mac(of: row.record) else {
                    report.problem =
                        "A row that is not linked yet, \(name(row)), was altered, or not written by this installation."
                    return report
                }
                report.waiting += 1
            }
        }
    }

    private func name(_ row: ChainedAuditRecord) -> String {
        "\(row.record.action) of \(row.record.at.rfc3339) (id \(row.record.id))"
    }
}
