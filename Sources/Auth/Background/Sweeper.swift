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
        try? await cancelWhenGracefulShutdown {
            var isSweepDue = true
            var round = 0
            while !Task.isCancelled {
                isSweepDue = isSweepDue || round % (Self.sweepSeconds / Self.noteSeconds) == 0
                // A node that gets the lease between two rounds catches up in the next.
                let isSweep = isSweepDue && lease.isHeld
                if isSweep { isSweepDue = false }
                await upkeep(isSweep: isSweep)
                round += 1
                try await Task.sleep(for: .seconds(Self.noteSeconds))
            }
        }
        await upkeep(isSweep: false)
    }

    private func upkeep(isSweep: Bool) async {
        do {
            try await services.lastSeen.flush(to: services.db)
            try await services.lastUsed.flush(to: services.db)
            services.lastSeen.forget(at: services.clock.now())
            services.lastUsed.forget(at: services.clock.now())
            if isSweep { try await sweep() }
        } catch {
            services.logger.warning("Upkeep failed; it is tried again.", metadata: ["cause": "\(error)"])
        }
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
