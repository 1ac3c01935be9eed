import Logging
import ServiceLifecycle
import Storage

/// Background upkeep: writes down when sessions were seen on this node, and, on the node that has the lease, removes what
/// is over.
struct Sweeper: Service {
    static let noteSeconds = 10
    static let sweepSeconds = 600
    /// Mails that were sent or given up are listed for so long.
    static let settledMailsKeptSeconds = 7 * 86_400
    /// API keys and trusted devices that have expired are listed for so long.
    static let expiredSecretsKeptSeconds = 30 * 86_400

    let services: Services
    let lease: Lease
    let guests: Guests
    let retention: AuditRetention

    func run() async throws {
        await cancelWhenGracefulShutdown {
            // A long sweep must not hold up the notes.
            await withTaskGroup { group in
                group.addTask { await everyRound { try await note() } }
                group.addTask { await sweepWhenDue() }
            }
        }
        try? await note()
    }

    private func sweepWhenDue() async {
        // A node that gets the lease between two rounds catches up in the next.
        var (round, isDue) = (0, true)
        await everyRound {
            isDue = isDue || round % (Self.sweepSeconds / Self.noteSeconds) == 0
            round += 1
            guard isDue, lease.isHeld else { return }
            isDue = false
            try await sweep()
        }
    }

    private func everyRound(_ work: () async throws -> Void) async {
        while !Task.isCancelled {
            do {
                try await work()
            } catch is CancellationError {
                return
            } catch {
                services.logger.warning("Upkeep failed; it is tried again.", metadata: ["cause": "\(error)"])
            }
            try? await Task.sleep(for: .seconds(Self.noteSeconds))
        }
    }

    private func note() async throws {
        try await services.lastSeen.flush(to: services.db)
        try await services.lastUsed.flush(to: services.db)
        services.lastSeen.forget(at: services.clock.now())
        services.lastUsed.forget(at: services.clock.now())
    }

    /// Removes what is over, in small steps.
    func sweep() async throws {
        let now = services.clock.now()
        let steps = Steps(db: services.db)
        // Before the sessions, which tell when a guest was last there.
        try await guests.sweep()
        try await steps.run(rowsMax: 32) { tx, rows in try tx.sweepSessions(before: now.day, count: rows) }
        try await steps.run(rowsMax: 32) { tx, rows in try tx.sweepOneTimeTokens(before: now, count: rows) }
        try await steps.run(rowsMax: 32) { tx, rows in try tx.sweepLockouts(before: now.day, count: rows) }
        try await sweepMails(steps, at: now)
        let secretsEnd = now.advanced(bySeconds: -Self.expiredSecretsKeptSeconds)
        try await steps.run(rowsMax: 4) { tx, rows in
            try tx.sweepSecrets(expiredBefore: secretsEnd, count: rows, at: now)
        }
        try await steps.run(rowsMax: 16) { [services] tx, rows in
            try tx.settleAuditBudgets(before: now.hour, count: rows, services)
        }
        try await retention.run()
    }

    private func sweepMails(_ steps: Steps, at now: Timestamp) async throws {
        let settledEnd = now.advanced(bySeconds: -Self.settledMailsKeptSeconds)
        try await steps.run(rowsMax: 32) { tx, rows in try tx.expireMails(at: now, count: rows) }
        try await steps.run(rowsMax: 32) { tx, rows in try tx.sweepSettledMails(before: settledEnd, count: rows) }
        try await steps.run(rowsMax: 32) { tx, rows in try tx.sweepInboxMails(at: now, count: rows) }
        try await steps.run(rowsMax: 32) { tx, rows in try tx.sweepVoidMails(count: rows) }
    }
}
