import CLibPQ
import Foundation

/// How a transaction begins.
enum TransactionKind: Sendable {
    /// One snapshot, and no writes.
    case read
    /// As if the transactions ran one after the other (SSI): what a flow has read still holds when it commits, or the
    /// transaction is run again. So a flow is right on PostgreSQL when it is right on SQLite, where they do run so.
    case write

    var statement: String {
        switch self {
        case .read: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        case .write: "BEGIN ISOLATION LEVEL SERIALIZABLE"
        }
    }
}

/// One connection of libpq, for one thread.
///
/// It is in pipeline mode throughout: `BEGIN` goes out with the first statement, a statement is prepared in the same round
/// trip that runs it first, and nobody waits for the end of a read.
final class PostgresConnection: Connection {
    /// A statement that takes longer is ended by the server; migrations are not.
    static let statementSeconds = 10
    /// Statements kept prepared.
    ///
    /// There are about a hundred different ones in the code; filters of lists can make more.
    static let preparedMax = 500
    static let preparedValuesMax = 100

    /// Set by a failure that the whole transaction can be run again after.
    private(set) var failure: PostgresFailure?
    /// Whether this is a session of PostgreSQL's own, with notifications and advisory locks: not on CockroachDB and
    /// YugabyteDB, which only speak the protocol, nor behind a pooler, which may give each transaction another session.
    private(set) var hasSession = true

    /// No answer within this time means that the connection is dead; nil waits for ever.
    var answerMilliseconds: Int? = 12_000

    let socket: PostgresSocket
    private let pulse: PostgresPulse
    private var kind = TransactionKind.read
    private var isBeginDue = false
    private var prepared: [PreparedKey: String] = [:]
    private var namesMade = 0
    /// Commands whose results nobody has read yet.
    private var unreadUnits = 0

    private struct PreparedKey: Hashable {
        let text: String
        let types: [UInt32]
    }

    /// Throws ``DatabaseError/unavailable(_:)`` with libpq's own words.
    init(_ parameters: [(String, String)], _ pulse: PostgresPulse) throws {
        self.pulse = pulse
        socket = try PostgresSocket(connecting: parameters)
        let setUp = """
            SELECT version(), pg_backend_pid() AS pid, set_config('statement_timeout', '\(Self.statementSeconds)s', false),
                set_config('lock_timeout', '\(Self.statementSeconds)s', false),
                set_config('idle_in_transaction_session_timeout', '60s', false),
                set_config('bytea_output', 'hex', false)
            """
        try socket.enterPipeline()
        guard let session = try exchange([.init(setUp)]).first?.rows.first else {
            throw DatabaseError.unavailable("the database does not answer as PostgreSQL does")
        }
        hasSession = try Self.isPostgres(version: session.get("version")) && session.get("pid") == socket.backendID
    }

    /// CockroachDB says its own name there, YugabyteDB `PostgreSQL 11.2-YB-2.20…`.
    static func isPostgres(version: String) -> Bool {
        version.hasPrefix("PostgreSQL") && !version.contains("-YB-")
    }

    func close() {
        socket.close()
    }

    // The transaction

    /// Costs nothing: the statement goes out with the first one of the transaction.
    func begin(_ kind: TransactionKind) {
        self.kind = kind
        failure = nil
        isBeginDue = true
    }

    func run(_ text: String, _ values: [Value]) throws -> (rows: [Row], changes: Int) {
        if failure == .lost { throw DatabaseError.unavailable("the connection to the database is lost") }
        let result = try exchange(try takeBegin() + [.init(text, values)]).last
        return (result?.rows ?? [], result?.changes ?? 0)
    }

    /// Ends a read; its answer is read along with that of the next statement.
    func endRead() {
        guard !takeIsBeginDue(), failure != .lost else { return }
        if (try? send([.init("COMMIT")])) == nil { failure = .lost }
    }

    /// Commits, and tells the other processes `notices` if they are given.
    ///
    /// Throws when nothing was stored, and with ``failure`` = ``PostgresFailure/lost`` when nobody knows.
    func commit(telling notices: [String], on channel: String) throws {
        if notices.isEmpty && takeIsBeginDue() { return }
        let tells = notices.map { PostgresCommand("SELECT pg_notify($1, $2)", [.text(channel), .text($0)]) }
        let results = try exchange(try takeBegin() + tells + [.init("COMMIT")])
        // A statement had failed, and its error was swallowed: PostgreSQL then takes the whole transaction back.
        if results.last?.tag == "ROLLBACK" { throw DatabaseError.failed("the transaction was rolled back") }
    }

    func rollback() {
        guard !takeIsBeginDue(), failure != .lost else { return }
        do { _ = try exchange([.init("ROLLBACK")]) } catch { failure = .lost }
    }

    private func takeIsBeginDue() -> Bool {
        defer { isBeginDue = false }
        return isBeginDue
    }

    private func takeBegin() throws -> [PostgresCommand] {
        guard takeIsBeginDue() else { return [] }
        if prepared.count >= Self.preparedMax {
            prepared = [:]
            // A unit of its own: within one, nothing may come before BEGIN.
            _ = try send([.init("DEALLOCATE ALL")])
        }
        return [.init(kind.statement)]
    }

    // Commands

    /// Sends the commands together and returns their results in order; one that fails takes those behind it along.
    private func exchange(_ commands: [PostgresCommand]) throws -> [PostgresResult] {
        let (results, failed) = try sendAndReceive(commands)
        pulse.beat()
        guard let failed else { return results }
        guard let failure = failed.failure(of: kind) else { throw failed.databaseError }
        self.failure = failure
        throw DatabaseError.unavailable(failed.message)
    }

    /// Whatever it throws means that the connection is gone.
    private func sendAndReceive(_ commands: [PostgresCommand]) throws -> (results: [PostgresResult], PostgresError?) {
        do {
            let fresh = try send(commands)
            while unreadUnits > 1 {
                unreadUnits -= 1
                _ = try socket.receiveUnit(within: answerMilliseconds)
            }
            unreadUnits = 0
            let (results, failed) = try socket.receiveUnit(within: answerMilliseconds)
            for (position, key, name) in fresh where position < results.count { prepared[key] = name }
            return (results, failed)
        } catch {
            failure = .lost
            throw error
        }
    }

    /// Returns what is being prepared, each with the position of its result.
    private func send(_ commands: [PostgresCommand]) throws -> [(position: Int, PreparedKey, name: String)] {
        var fresh: [(position: Int, PreparedKey, name: String)] = []
        var position = 0
        for command in commands {
            let parameters = PostgresParameters(command.values)
            let key = PreparedKey(text: command.text, types: parameters.types)
            if let name = prepared[key] {
                try socket.execute(name, parameters)
            } else if command.values.isEmpty || command.values.count > Self.preparedValuesMax {
                // Little to plan (BEGIN, COMMIT, definitions), or too long to be worth keeping.
                try socket.send(command)
            } else {
                namesMade += 1
                let name = "s\(namesMade)"
                try socket.prepare(name, command.text, parameters)
                try socket.execute(name, parameters)
                fresh.append((position, key, name))
                position += 1
            }
            position += 1
        }
        try socket.endUnit(within: answerMilliseconds)
        unreadUnits += 1
        return fresh
    }
}

/// A statement and its values.
struct PostgresCommand {
    let text: String
    let values: [Value]

    init(_ text: String, _ values: [Value] = []) {
        self.text = text
        self.values = values
    }
}

/// What a statement gave back.
struct PostgresResult {
    let rows: [Row]
    let changes: Int
    /// Such as `COMMIT` or `INSERT 0 1`.
    let tag: String
}
