import Dispatch
import Synchronization

/// How many searches run and wait at the same time, and how long one may take.
package struct SearchLimits: Sendable {
    package static let secondsDefault = 10.0
    package static let waitingCountDefault = 32

    /// From the call to the end, waiting included.
    let seconds: Double
    /// Searches beyond these are refused at once.
    let waitingCountMax: Int

    package init(seconds: Double = secondsDefault, waitingCountMax: Int = waitingCountDefault) {
        self.seconds = seconds
        self.waitingCountMax = waitingCountMax
    }
}

/// Ends a search before it is done: its task was cancelled, or its time is over.
///
/// A class, since the search, its caller and the clock share it.
final class SearchEnd: Sendable {
    enum Reason: Sendable {
        case cancelled
        case overdue
    }

    private struct State {
        var reason: Reason?
        /// Stops the statement that is running.
        var interrupt: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())
    private let limits: SearchLimits
    private let deadline: ContinuousClock.Instant

    init(_ limits: SearchLimits) {
        self.limits = limits
        deadline = ContinuousClock.now + .seconds(limits.seconds)
    }

    /// Why the search must end; nil while it may go on.
    var reason: Reason? {
        state.withLock { state in
            if state.reason == nil, ContinuousClock.now >= deadline { state.reason = .overdue }
            return state.reason
        }
    }

    /// Throws what the caller is told when the search must end.
    func check() throws {
        switch reason {
        case nil: return
        case .cancelled: throw CancellationError()
        case .overdue: throw DatabaseError.tooSlow(seconds: limits.seconds)
        }
    }

    /// Runs `body`, which is told to end when the caller's task is cancelled.
    func whileWanted<T: Sendable>(_ body: () async throws -> T) async throws -> T {
        try await withTaskCancellationHandler(operation: body, onCancel: { self.end(.cancelled) })
    }

    func end(_ reason: Reason) {
        let interrupt = state.withLock { state -> (@Sendable () -> Void)? in
            guard state.reason == nil else { return nil }
            state.reason = reason
            return state.interrupt
        }
        interrupt?()
    }

    /// Calls `interrupt` when the search must end, for engines that have to be told, until ``disarm()``.
    ///
    /// Throws like ``check()``.
    func arm(by queue: DispatchQueue, _ interrupt: @escaping @Sendable () -> Void) throws {
        try check()
        state.withLock { $0.interrupt = interrupt }
        try check()
        let left = ContinuousClock.now.duration(to: deadline)
        let (seconds, attoseconds) = left.components
        let milliseconds = Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
        queue.asyncAfter(deadline: .now() + .milliseconds(max(0, milliseconds) + 1)) { [weak self] in
            self?.end(.overdue)
        }
    }

    var isArmed: Bool { state.withLock { $0.interrupt != nil } }

    func disarm() {
        state.withLock { $0.interrupt = nil }
    }
}
