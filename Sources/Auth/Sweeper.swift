import Logging
import ServiceLifecycle
import Storage

/// Background upkeep: writes down when sessions were seen, and removes what is over.
struct Sweeper: Service {
    static let noteSeconds = 10
    static let sweepSeconds = 600
    /// Ended sessions stay for so long, so that their tokens are told why.
    static let endedKeptSeconds = 30 * 86_400

    let services: Services

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var round = 0
            while !Task.isCancelled {
                await upkeep(isSweep: round % (Self.sweepSeconds / Self.noteSeconds) == 0)
                round += 1
                try await Task.sleep(for: .seconds(Self.noteSeconds))
            }
        }
        await upkeep(isSweep: false)
    }

    private func upkeep(isSweep: Bool) async {
        do {
            try await services.lastSeen.flush(to: services.db)
            if isSweep { try await sweep() }
        } catch {
            services.logger.warning("Upkeep failed; it is tried again.", metadata: ["cause": "\(error)"])
        }
    }

    func sweep() async throws {
        let now = services.clock.now()
        services.lastSeen.forget(before: now.advanced(bySeconds: -Int(LastSeen.noteSeconds)))
        try await services.db.write { tx in
            try tx.sweepSessions(before: now.advanced(bySeconds: -Self.endedKeptSeconds))
            try tx.sweepOneTimeTokens(before: now)
            try tx.sweepLockouts(failedBefore: now.advanced(bySeconds: -86_400), at: now)
        }
    }
}
