import Logging
import ServiceLifecycle
import Storage

/// Links the rows of the audit log, on the node that has the lease, and tells checkpoints.
struct AuditChain: Service {
    static let linkSeconds = 1
    /// In one transaction, which must be short: others wait for the writer meanwhile.
    static let batchMax = 100
    /// A checkpoint goes to the log so often, and with the log to wherever that is kept.
    static let checkpointSeconds: Int64 = 3600

    let services: Services
    let lease: Lease

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var told = services.clock.now()
            while !Task.isCancelled {
                if lease.isHeld { await upkeep(&told) }
                try await Task.sleep(for: .seconds(Self.linkSeconds))
            }
        }
        if lease.isHeld { _ = try? await link() }
    }

    private func upkeep(_ told: inout Timestamp) async {
        do {
            try await link()
            guard services.clock.now().seconds(since: told) >= Self.checkpointSeconds else { return }
            told = services.clock.now()
            guard let checkpoint = try await checkpoint() else { return }
            services.logger.notice("audit checkpoint", metadata: ["checkpoint": "\(checkpoint.json.serialized)"])
        } catch {
            services.logger.warning(
                "The audit log could not be linked; it is tried again.",
                metadata: ["cause": "\(error)"]
            )
        }
    }

    /// Links what is not linked yet, and tells how many rows.
    ///
    /// Rows without a MAC are of a version that made none, if the chain has not begun yet; later ones are nobody's of ours,
    /// and stay outside for ``verify(_:against:)`` to find.
    @discardableResult
    func link() async throws -> Int {
        var linked = 0
        var sequence: Int64 = 0
        while true {
            let after = sequence
            let rows = try await services.db.read { tx in
                try tx.unlinkedAuditRecords(after: after, count: Self.batchMax)
            }
            guard let last = rows.last else { return linked }
            sequence = last.sequence
            linked += try await services.db.write { [services] tx in
                var (position, link) = try tx.lastAuditLink().map { ($0, Optional($1)) } ?? (0, nil)
                let adopts = position == 0
                var count = 0
                for row in rows {
                    guard let mac = row.mac ?? (adopts ? services.auditKey.mac(of: row.record) : nil) else { continue }
                    let next = services.auditKey.link(mac, at: position + 1, after: link)
                    guard try tx.linkAuditRecord(row.sequence, mac, at: position + 1, next) else { continue }
                    (position, link) = (position + 1, next)
                    count += 1
                }
                return count
            }
        }
    }

    func records(_ filter: AuditFilter, page: Paging) async throws -> PageOf<AuditRecord> {
        try await services.page(page, of: filter.list) { row in try ChainedAuditRecord(row).record }
    }

    /// The newest linked row, signed; nil as long as there is none.
    func checkpoint() async throws -> AuditCheckpoint? {
        let now = services.clock.now()
        guard let last = try await services.db.read({ tx in try tx.lastAuditLink() }) else { return nil }
        return try services.auditKey.checkpoint(at: last.position, last.link, time: now)
    }
}
