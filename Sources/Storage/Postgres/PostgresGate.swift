import Foundation
import Synchronization

/// Lets transactions that lost a conflict run while no other of this process does, so that they get through.
///
/// PostgreSQL takes transactions for conflicting that have only read and written the same page of an index, such as
/// registrations at the same time: side by side, they can fail each other again and again. A class, since it counts.
final class PostgresGate: Sendable {
    /// Nobody waits longer for the others than this: one of them may be long.
    private static let waitSeconds = 0.2

    private struct State {
        var runningCount = 0
        var isOneAlone = false
        var waitingCount = 0
    }

    private let condition = NSCondition()
    private let state = Mutex(State())

    /// Beside others, behind those who wait to be alone.
    func enter() {
        wait { $0.isOneAlone || $0.waitingCount > 0 }
        state.withLock { $0.runningCount += 1 }
        condition.unlock()
    }

    /// Alone, or beside others after all when they take too long; tells which, for ``leave(alone:)``.
    func enterAlone() -> Bool {
        state.withLock { $0.waitingCount += 1 }
        wait { $0.isOneAlone || $0.runningCount > 0 }
        let isAlone = state.withLock { state in
            state.waitingCount -= 1
            let isFree = !state.isOneAlone && state.runningCount == 0
            if isFree { state.isOneAlone = true } else { state.runningCount += 1 }
            return isFree
        }
        condition.broadcast()
        condition.unlock()
        return isAlone
    }

    func leave(alone: Bool) {
        condition.lock()
        state.withLock { state in
            if alone { state.isOneAlone = false } else { state.runningCount -= 1 }
        }
        condition.broadcast()
        condition.unlock()
    }

    /// Returns with the condition locked.
    private func wait(while isClosed: (State) -> Bool) {
        let deadline = Date(timeIntervalSinceNow: Self.waitSeconds)
        condition.lock()
        while state.withLock({ isClosed($0) }) {
            guard condition.wait(until: deadline) else { return }
        }
    }
}
