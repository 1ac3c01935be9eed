import CArgon2
import DequeModule
import Foundation
import Synchronization

/// A few threads that do nothing but hash, each with a reused arena of work memory, and a bounded queue before them.
///
/// Memory is bounded by `threads × 19 MiB`. They run at a lower priority than the event loops, so that a storm of
/// sign-ins leaves everything else fast. A class, since it owns threads.
final class HashingThreads: Sendable {
    /// Together between one and two seconds of waiting at the rates of `docs/performance.md`.
    ///
    /// Fewer would leave the threads idle between two rounds of those who were told to come again after a second; more
    /// would outlast a client's patience.
    static let waitingPerThreadMax = 160
    /// An arena is wiped when its thread had nothing to do for so long.
    static let idleSeconds = 2.0
    private static let niceness: Int32 = 5
    /// The weight of the latest job in the average.
    private static let averageShare = 0.05

    private struct State {
        var waiting: Deque<@Sendable () -> Void> = []
        var slots = RetrySlots()
        /// Of one thread, on average; the first value is that of a slow machine.
        var jobSeconds = 0.02
    }

    private let state = Mutex(State())
    private let wakeUp = DispatchSemaphore(value: 0)
    private let count: Int
    private let waitingMax: Int
    private let start = ContinuousClock.now

    init(count: Int, waitingMax: Int? = nil) {
        self.count = count
        self.waitingMax = waitingMax ?? count * Self.waitingPerThreadMax
        guard lk_argon2_prepare() == 0 else { preconditionFailure("libsodium found no source of randomness") }
        for number in 0..<count {
            let thread = Thread { self.work() }
            thread.name = "hashing-\(number)"
            thread.start()
        }
    }

    /// Runs `job` on one of the threads.
    ///
    /// Throws `overloaded` at once when the queue is full.
    func run<T: Sendable>(_ job: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let refusal = state.withLock { state -> AuthError? in
                guard state.waiting.count < waitingMax else { return overloaded(&state) }
                state.waiting.append { continuation.resume(with: Result(catching: job)) }
                return nil
            }
            if let refusal {
                continuation.resume(throwing: refusal)
            } else {
                wakeUp.signal()
            }
        }
    }

    /// Throws `overloaded` when a job would find the queue full: for whoever can refuse before any other work is done.
    func checkRoom() throws {
        let refusal = state.withLock { state in
            state.waiting.count < waitingMax ? nil : overloaded(&state)
        }
        if let refusal { throw refusal }
    }

    private func overloaded(_ state: inout State) -> AuthError {
        let jobSeconds = state.jobSeconds / Double(count)
        let seconds = state.slots.take(
            at: (ContinuousClock.now - start).seconds,
            queueSeconds: Double(state.waiting.count) * jobSeconds,
            jobSeconds: jobSeconds
        )
        return AuthError(.overloaded, retryAfterSeconds: seconds)
    }

    /// Lives as long as the process.
    private func work() -> Never {
        lk_argon2_lower_priority(Self.niceness)
        // Without memory for an arena, hashes map their own: slower, and just as right.
        _ = lk_argon2_arena_open(PasswordHash.memoryBytes)
        while true {
            if wakeUp.wait(timeout: .now() + Self.idleSeconds) == .timedOut {
                lk_argon2_arena_wipe()
                wakeUp.wait()
            }
            let began = ContinuousClock.now
            state.withLock { $0.waiting.removeFirst() }()
            let seconds = (ContinuousClock.now - began).seconds
            state.withLock { $0.jobSeconds += (seconds - $0.jobSeconds) * Self.averageShare }
        }
    }
}

extension Duration {
    fileprivate var seconds: Double { Double(microseconds) / 1_000_000 }
}
