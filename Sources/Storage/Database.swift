/// A relational database.
///
/// Conformers: ``SQLiteDatabase`` and ``PostgresDatabase``; the conformance suite runs on each.
///
/// Closures are synchronous and do nothing but SQL, so that they can be grouped, rolled back and run again: no mail, no
/// HTTP, no hashing inside.
package protocol Database: Sendable {
    var dialect: Dialect { get }

    /// Runs `body` on one consistent snapshot; it can't write.
    func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T

    /// Runs `body` like ``read(_:)``, for lists and searches: on a bounded share of the connections, so that slow ones never
    /// keep a sign-in waiting.
    ///
    /// Its statements end when the task is cancelled, with `CancellationError`. Throws ``DatabaseError/tooSlow(seconds:)``
    /// after ``SearchLimits/secondsDefault``, and ``DatabaseError/tooManySearches`` at once when too many wait.
    func search<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T

    /// Runs `body` as one transaction, as if no other ran at the same time; maybe more than once, until it commits.
    ///
    /// When this returns, its writes survive a crash; when it throws, nothing of it is stored (unless the connection
    /// broke during the commit: then nobody knows, and it throws ``DatabaseError/unavailable(_:)``).
    func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T

    /// Like ``write(_:)``, one after the other over all processes, and without limits of time: for what a start does.
    func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T

    /// Calls `handler` after each commit that announced topics, before its `write` returns, and whenever another
    /// process changed the database.
    ///
    /// The handler must be short and must not call the database.
    func onChange(_ handler: @escaping @Sendable (Change) -> Void)

    /// Notices the writes of other processes until the task is cancelled, within ``Change/noticeMilliseconds``.
    func watch() async throws

    /// False while writes of other processes may go unnoticed: nothing may be answered from memory then.
    var hearsOthers: Bool { get }

    /// What was found damaged within the last ``Damage/secondsKept``; nil when nothing was.
    var damage: String? { get }

    /// Tells other processes of topics without a write.
    ///
    /// Nothing where there are no other nodes; what can't be told is lost.
    func tell(_ topics: [String]) async throws

    func close() throws
}

/// What a commit touched.
package enum Change: Sendable, Equatable {
    /// The topics that the transaction announced, such as `user:<id>`.
    case topics([String])
    /// Another process wrote something; nobody knows what.
    case unknown

    /// On SQLite, a write of another process is noticed within this time; PostgreSQL tells of it at once.
    package static let noticeMilliseconds = 200
}

/// The statements of one transaction.
///
/// Not to be kept beyond the closure it was given to.
package final class Transaction {
    package let dialect: Dialect
    package let connection: any Connection
    /// All that were announced, in order.
    package private(set) var topics: [String] = []
    /// Those of them that other processes are told.
    package private(set) var toldTopics: [String] = []

    package init(connection: any Connection, dialect: Dialect) {
        self.connection = connection
        self.dialect = dialect
    }

    /// Every row that the statement returns.
    package func all(_ sql: SQL) throws -> [Row] {
        let (text, values) = sql.render()
        return try connection.run(text, values).rows
    }

    /// The first row, or nil.
    package func one(_ sql: SQL) throws -> Row? {
        try all(sql).first
    }

    /// Runs a statement that writes and tells how many rows it changed, without those that a foreign key took along.
    @discardableResult
    package func execute(_ sql: SQL) throws -> Int {
        let (text, values) = sql.render()
        return try connection.run(text, values).changes
    }

    /// Runs a text that is not written in the source: of a migration, or made from the catalogue of tables.
    func define(_ text: String) throws {
        _ = try connection.run(text, [])
    }

    /// Tells every cache, in this process and others, that what `topic` names has changed, once the transaction
    /// commits.
    package func announce(_ topic: String) {
        topics.append(topic)
        toldTopics.append(topic)
    }

    /// Like ``announce(_:)``, to the caches of this process alone: for what others may learn late.
    ///
    /// PostgreSQL commits one after the other what is told to others.
    package func announceHere(_ topic: String) {
        topics.append(topic)
    }
}

/// One connection of an engine, inside a transaction.
package protocol Connection {
    func run(_ text: String, _ values: [Value]) throws -> (rows: [Row], changes: Int)
}

/// Where the data definition language of the engines differs.
///
/// Statements on data are the same for both.
package enum Dialect: String, Sendable, CaseIterable {
    case sqlite
    case postgres

    /// Replaces the tokens that a migration may use.
    func expand(_ text: String) -> String {
        var text = text
        for (token, sqlite, postgres) in Self.tokens {
            text = text.split(separator: token, omittingEmptySubsequences: false)
                .joined(separator: self == .sqlite ? sqlite : postgres)
        }
        return text
    }

    private static let tokens = [
        (token: "{int}", sqlite: "INTEGER", postgres: "BIGINT"),
        (token: "{bool}", sqlite: "INTEGER", postgres: "BOOLEAN"),
        (
            token: "{sequence}", sqlite: "INTEGER PRIMARY KEY AUTOINCREMENT",
            postgres: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
        ),
        (token: "{blob}", sqlite: "BLOB", postgres: "BYTEA"),
        (token: "{true}", sqlite: "1", postgres: "TRUE"),
        (token: "{false}", sqlite: "0", postgres: "FALSE"),
        (token: "{strict}", sqlite: " STRICT", postgres: ""),
    ]
}
