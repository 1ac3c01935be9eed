import Storage

/// Goes through the whole audit log and finds the first row that is not as it was written.
struct AuditVerification: Sendable {
    static let batchMax = 1000

    let services: Services

    struct Report: Sendable {
        /// Rows in the chain that are as they were written, counted from the first.
        var linked: Int64 = 0
        /// Rows behind it that wait to be linked.
        var waiting = 0
        /// What is wrong, as a sentence; nil when nothing is.
        var problem: String?
    }

    /// `checkpoint` is one that was kept elsewhere.
    func run(against checkpoint: AuditCheckpoint?, progress: @Sendable (Int64) -> Void = { _ in }) async throws
        -> Report
    {
        var report = Report()
        if let checkpoint, !services.auditKey.hasSigned(checkpoint) {
            report.problem = "The checkpoint was not signed by this installation, or was altered."
            return report
        }
        var link: Digest?
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

    private func problem(with row: ChainedAuditRecord, at position: Int64, after former: Digest?) -> String? {
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
