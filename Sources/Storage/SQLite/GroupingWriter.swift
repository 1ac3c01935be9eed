import GRDB
import Synchronization

/// Commits the transactions of many callers together: each runs in a savepoint of its own, one commit (one fsync) makes
/// them all durable, then all callers go on.
///
/// Alone, a caller waits for nobody.
final class GroupingWriter: Sendable {
    /// Bounds how long the callers of one group wait for each other.
    static let groupCountMax = 256

    private let pool: DatabasePool
    private let changes: ChangeFeed
    private let damages: Damage
    private let queue = Mutex(Queue())

    private struct Queue {
        var waiting: [any GroupedWrite] = []
        var isDraining = false
    }

    init(pool: DatabasePool, changes: ChangeFeed, damages: Damage) {
        self.pool = pool
        self.changes = changes
        self.damages = damages
    }

    func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let mustStart = queue.withLock { queue in
                queue.waiting.append(PendingWrite(body: body, continuation: continuation))
                defer { queue.isDraining = true }
                return !queue.isDraining
            }
            if mustStart { drainLater() }
        }
    }

    /// One group per turn of the writer's queue, so that nobody else who needs the writer starves.
    private func drainLater() {
        pool.asyncWriteWithoutTransaction { db in
            let group = self.queue.withLock { queue in
                let group = Array(queue.waiting.prefix(Self.groupCountMax))
                queue.waiting.removeFirst(group.count)
                return group
            }
            self.commit(group, on: db)
            let isMore = self.queue.withLock { queue in
                queue.isDraining = !queue.waiting.isEmpty
                return queue.isDraining
            }
            if isMore { self.drainLater() }
        }
    }

    private func commit(_ group: [any GroupedWrite], on db: GRDB.Database) {
        var done: [any GroupedWrite] = []
        do {
            try db.execute(sql: "BEGIN IMMEDIATE")
            for write in group {
                try db.execute(sql: "SAVEPOINT one")
                if write.run(on: db, damages) {
                    done.append(write)
                } else {
                    // A full disk or an I/O error may have rolled back everything, savepoint included: then the group
                    // is lost.
                    guard db.isInsideTransaction else {
                        throw DatabaseError.unavailable("the transaction was rolled back")
                    }
                    try db.execute(sql: "ROLLBACK TO one")
                }
                try db.execute(sql: "RELEASE one")
            }
            try db.execute(sql: "COMMIT")
        } catch {
            if db.isInsideTransaction { try? db.execute(sql: "ROLLBACK") }
            let cause = (error as? GRDB.DatabaseError).map { damages.noting(DatabaseError($0)) } ?? error
            for write in group { write.fail(cause) }
            return
        }
        let topics = done.flatMap(\.topics)
        // Before the callers go on: whoever sees his write acknowledged finds no stale cache.
        if !topics.isEmpty { changes.publish(.topics(topics)) }
        for write in group { write.resume() }
    }
}

/// A write that waits for its group, without its result type.
private protocol GroupedWrite: AnyObject, Sendable {
    var topics: [String] { get }

    /// Runs the statements; false when the body threw, and must be rolled back.
    func run(on db: GRDB.Database, _ damages: Damage) -> Bool
    func fail(_ error: any Error)
    func resume()
}

/// A class, since its outcome is set while it is in the group and handed over after the commit.
private final class PendingWrite<T: Sendable>: GroupedWrite {
    private let body: @Sendable (Transaction) throws -> T
    private let continuation: CheckedContinuation<T, any Error>
    private let state = Mutex<(outcome: Result<T, any Error>?, topics: [String])>((nil, []))

    init(body: @escaping @Sendable (Transaction) throws -> T, continuation: CheckedContinuation<T, any Error>) {
        self.body = body
        self.continuation = continuation
    }

    var topics: [String] { state.withLock { $0.topics } }

    func run(on db: GRDB.Database, _ damages: Damage) -> Bool {
        let transaction = Transaction(connection: SQLiteConnection(db: db, damages: damages), dialect: .sqlite)
        do {
            let value = try body(transaction)
            state.withLock { $0 = (.success(value), transaction.topics) }
            return true
        } catch {
            state.withLock { $0 = (.failure(error), []) }
            return false
        }
    }

    /// Nothing of the group was stored.
    ///
    /// A body that had thrown by itself keeps its own error.
    func fail(_ error: any Error) {
        let own: (any Error)? = state.withLock { state in
            if case .failure(let own) = state.outcome { own } else { nil }
        }
        continuation.resume(throwing: own ?? error)
    }

    func resume() {
        let outcome = state.withLock { $0.outcome }
        continuation.resume(with: outcome ?? .failure(DatabaseError.failed("the write was never run")))
    }
}
