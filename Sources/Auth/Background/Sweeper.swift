import Logging
import ServiceLifecycle
import Storage

/// Background upkeep: writes down when sessions were seen on this node, and, on the node that has the lease, removes what
/// is over.
struct Sweeper: Service {
    static let noteSeconds = 10
    static let sweepSeconds = 600
    /// Ended sessions stay for so long, so that their tokens are told why.
    static let endedKeptSeconds = 30 * 86_400

    /// Mails that were sent or given up are listed for so long.
    static let settledMailsKeptSeconds = 7 * 86_400

    let services: Services
    let lease: Lease
    let guests: Guests

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

    func sweep() async throws {
        let now = services.clock.now()
        // Before the sessions, which tell when a guest was last there.
        try await guests.sweep()
        try await services.db.write { tx in
            try tx.sweepSessions(before: now.advanced(bySeconds: -Self.endedKeptSeconds))
            try tx.sweepOneTimeTokens(before: now)
            try tx.sweepMails(settledBefore: now.advanced(bySeconds: -Self.settledMailsKeptSeconds), at: now)
            try tx.sweepLockouts(failedBefore: now.advanced(bySeconds: -86_400), at: now)
        }
    }
}
