import DequeModule
import GRDB
import GRDBSQLite
import Synchronization

/// Read-only connections set aside for lists and searches, and a bounded queue before them.
///
/// A class, since it hands its connections out.
final class SQLiteSearches: Sendable {
    /// They share the machine's cores with sign-in.
    static let connectionCount = 2
    /// So often a running statement looks whether it is still wanted: some tenths of a millisecond.
    private static let instructionsBetweenLooks: Int32 = 20_000

    private struct Job: Sendable {
        let end: SearchEnd
        let run: @Sendable (DatabaseQueue) -> Void
        let refuse: @Sendable (any Error) -> Void
    }

    private struct State {
        var free: [DatabaseQueue]
        var waiting: Deque<Job> = []
    }

    private let connections: [DatabaseQueue]
    private let state: Mutex<State>
    private let limits: SearchLimits
    private let damages: Damage

    /// `configuration` is the one of the other connections to the file, which must be open already.
    init(path: String, _ configuration: Configuration, _ limits: SearchLimits, _ damages: Damage) throws {
        var configuration = configuration
        configuration.readonly = true
        configuration.label = "search"
        connections = try (0..<Self.connectionCount).map { _ in
            try DatabaseQueue(path: path, configuration: configuration)
        }
        state = Mutex(State(free: connections))
        self.limits = limits
        self.damages = damages
    }

    func close() throws {
        for connection in connections { try connection.close() }
    }

    /// Throws like ``Database/search(_:)``.
    func run<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        let end = SearchEnd(limits)
        return try await end.whileWanted {
            try await withCheckedThrowingContinuation { continuation in
                enqueue(
                    Job(end: end) { connection in
                        connection.asyncRead { opened in
                            let result = Result { try self.search(opened.get(), until: end, body) }
                            self.free(connection)
                            continuation.resume(with: result)
                        }
                    } refuse: { error in
                        continuation.resume(throwing: error)
                    }
                )
            }
        }
    }

    /// A search that waits needs no clock of its own: those before it end when their time is over.
    private func enqueue(_ job: Job) {
        let (connection, refused) = state.withLock { state -> (DatabaseQueue?, [Job]) in
            if let connection = state.free.popLast() { return (connection, []) }
            var over: [Job] = []
            if state.waiting.count >= limits.waitingCountMax {
                // Those whose clients have left take no place.
                over = state.waiting.filter { $0.end.reason != nil }
                state.waiting.removeAll { $0.end.reason != nil }
            }
            if state.waiting.count < limits.waitingCountMax { state.waiting.append(job) } else { over.append(job) }
            return (nil, over)
        }
        if let connection { job.run(connection) }
        for job in refused { job.refuse(DatabaseError.tooManySearches) }
    }

    private func free(_ connection: DatabaseQueue) {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            if next == nil { state.free.append(connection) }
            return next
        }
        next?.run(connection)
    }

    private func search<T>(_ db: GRDB.Database, until end: SearchEnd, _ body: (Transaction) throws -> T) throws -> T {
        try end.check()
        // Asked by the statement itself: an interrupt from outside is lost when it comes between two statements.
        sqlite3_progress_handler(
            db.sqliteConnection,
            Self.instructionsBetweenLooks,
            { end in
                guard let end else { return 0 }
                return Unmanaged<SearchEnd>.fromOpaque(end).takeUnretainedValue().reason == nil ? 0 : 1
            },
            Unmanaged.passUnretained(end).toOpaque()
        )
        defer { sqlite3_progress_handler(db.sqliteConnection, 0, nil, nil) }
        do {
            return try body(Transaction(connection: SQLiteConnection(db: db, damages: damages), dialect: .sqlite))
        } catch {
            try end.check()
            throw (error as? GRDB.DatabaseError).map { damages.noting(DatabaseError($0)) } ?? error
        }
    }
}
