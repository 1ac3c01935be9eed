import Dispatch
import Storage
import Synchronization

/// A point where a closure on a database thread meets the test: it tells that it has arrived, and waits to be let go on.
///
/// A class, since both sides hold it.
final class Meeting: Sendable {
    private let arrived = AsyncStream<Void>.makeStream()
    private let leave = DispatchSemaphore(value: 0)

    /// For the closure: blocks its thread.
    ///
    /// False when nobody came within a minute, so that a broken test ends.
    func arriveAndWait() -> Bool {
        arrived.continuation.yield()
        return leave.wait(timeout: .now() + 60) == .success
    }

    /// For the test: until the closure has arrived.
    func arrival() async {
        for await _ in arrived.stream { break }
    }

    /// For the test: lets the closure go on.
    func letGo() { leave.signal() }
}

/// The changes that a database told of, in order.
///
/// A class, since it gathers over calls.
final class ChangeList: Sendable {
    private let changes = Mutex<[Change]>([])

    init(of db: any Database) {
        db.onChange { [self] change in changes.withLock { $0.append(change) } }
    }

    var all: [Change] { changes.withLock { $0 } }

    var topics: [String] {
        all.flatMap { change -> [String] in
            if case .topics(let topics) = change { topics } else { [] }
        }
    }
}

/// How often something ran.
///
/// A class, since it counts over runs.
final class Count: Sendable {
    private let count = Mutex(0)

    var value: Int { count.withLock { $0 } }

    /// Counts one, and tells the how manieth it is.
    func next() -> Int {
        count.withLock { count in
            count += 1
            return count
        }
    }
}
