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
                await exchange()
                try await Task.sleep(for: .milliseconds(Self.milliseconds))
            }
        }
    }

    /// While the database is away nobody is told, and each node limits by what it sees itself.
    func exchange() async {
        if let rules = try? await services.settings().rateRules { limiter.addTold(by: rules, at: services.clock.now()) }
        let topics = limiter.takeUntold()
        if !topics.isEmpty { try? await services.db.tell(topics) }
    }
}
