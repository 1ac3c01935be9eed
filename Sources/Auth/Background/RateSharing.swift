import ServiceLifecycle
import Storage

/// Tells the other nodes how many requests this one admitted, so that a limit holds over all of them.
struct RateSharing: Service {
    static let milliseconds = 250

    let services: Services
    let limiter: RateLimiter

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let topics = limiter.takeUntold()
                // While the database is away nobody is told, and each node limits by what it sees itself.
                if !topics.isEmpty { try? await services.db.tell(topics) }
                try await Task.sleep(for: .milliseconds(Self.milliseconds))
            }
        }
    }
}
