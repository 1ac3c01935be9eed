import CArgon2
import Foundation
import Synchronization

/// A few threads that do nothing but hash, each with a reused arena of work memory, and a bounded queue before them.
///
/// Memory is bounded by `threads × 19 MiB`. They run at a lower priority than the event loops, so that a storm of
/// sign-ins leaves everything else fast. A class, since it owns threads.
final class HashingThreads: Sendable {
    /// Together about a second of waiting at the rates of `docs/performance.md`; more would outlast a client's
    /// patience.
    static let waitingPerThreadMax = 64
    /// An arena is wiped when its thread had nothing to do for so long.
    static let idleSeconds = 2.0
    private static let niceness: Int32 = 5

    private let waiting = Mutex<[@Sendable () -> Void]>([])
    private let wakeUp = DispatchSemaphore(value: 0)
    private let waitingMax: Int

    init(count: Int, waitingMax: Int? = nil) {
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
            let isAccepted = waiting.withLock { waiting in
                guard waiting.count < waitingMax else { return false }
                waiting.append { continuation.resume(with: Result(catching: job)) }
                return true
            }
            if isAccepted {
                wakeUp.signal()
            } else {
                continuation.resume(throwing: AuthError(.overloaded, retryAfterSeconds: 1))
            }
        }
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
            waiting.withLock { $0.removeFirst() }()
        }
    }
}
