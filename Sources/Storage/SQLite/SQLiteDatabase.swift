import Foundation
import GRDB
import GRDBSQLite
import Synchronization

/// SQLite in one file: write-ahead log, `synchronous=FULL`, readers in a pool, one grouping writer.
///
/// An acknowledged write survives kill -9 and a power cut (as far as the disk honours fsync).
package final class SQLiteDatabase: Database {
    package let dialect = Dialect.sqlite
    private let pool: DatabasePool
    private let writer: GroupingWriter
    private let changes: ChangeFeed
    private let searches: SQLiteSearches
    private let damages = Damage()

    /// The library's version; ``SQLiteDatabase/init(path:)`` refuses one that is older than 3.40.
    package static var version: String { String(cString: sqlite3_libversion()) }

    /// Waiting for another process's write lock gives up after this time.
    static let busySeconds = 5.0

    /// Opens the file, or creates it for this user alone.
    ///
    /// Throws ``DatabaseError/unavailable(_:)`` when it can't.
    package init(path: String, searches limits: SearchLimits = SearchLimits()) throws {
        guard sqlite3_libversion_number() >= 3_040_000 else {
            throw DatabaseError.unavailable("SQLite \(Self.version) is too old: 3.40 or newer is needed.")
        }
        var configuration = Configuration()
        configuration.busyMode = .timeout(Self.busySeconds)
        configuration.foreignKeysEnabled = true
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA trusted_schema = OFF")
        }
        do {
            // The file holds digests and hashes: nobody but its owner may read it. WAL files inherit the mode.
            if !FileManager.default.fileExists(atPath: path) {
                guard
                    FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
                else { throw DatabaseError.unavailable("can't create \(path)") }
            }
            pool = try DatabasePool(path: path, configuration: configuration)
            // Not in `prepareDatabase`: a pool sets its writer to NORMAL behind that, which a power cut would make
            // forget commits.
            try pool.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
            searches = try SQLiteSearches(path: path, configuration, limits, damages)
        } catch let error as GRDB.DatabaseError {
            throw DatabaseError(error)
        }
        changes = ChangeFeed()
        writer = GroupingWriter(pool: pool, changes: changes, damages: damages)
    }

    package func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        do {
            return try await pool.read { [damages] db in
                try body(Transaction(connection: SQLiteConnection(db: db, damages: damages), dialect: .sqlite))
            }
        } catch let error as GRDB.DatabaseError {
            throw damages.noting(DatabaseError(error))
        }
    }

    package func search<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await searches.run(body)
    }

    package var damage: String? { damages.recent }

    package func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await writer.write(body)
    }

    /// SQLite lets one writer at a time in anyway.
    package func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await write(body)
    }

    package func onChange(_ handler: @escaping @Sendable (Change) -> Void) {
        changes.subscribe(handler)
    }

    /// `PRAGMA data_version` of the writing connection moves only when another connection commits, and within this
    /// process no other connection writes.
    package func watch() async throws {
        var last: Int64?
        while !Task.isCancelled {
            let version = try await pool.writeWithoutTransaction { db in
                try Int64.fetchOne(db, sql: "PRAGMA data_version")
            }
            // At the first look too: what was cached before it may have been overtaken already.
            if last != version { changes.publish(.unknown) }
            last = version
            try await Task.sleep(for: .milliseconds(Change.noticeMilliseconds))
        }
    }

    /// Other processes are the commands, each with its own short life; a server is watching.
    package let hearsOthers = true

    package func tell(_ topics: [String]) {}

    /// Folds the log into the database file, so that the file alone is complete, unless another process is reading.
    package func close() throws {
        try searches.close()
        _ = try? pool.writeWithoutTransaction { db in try db.checkpoint(.truncate) }
        try pool.close()
    }
}

/// The subscribers of a database's changes.
final class ChangeFeed: Sendable {
    private let handlers = Mutex<[@Sendable (Change) -> Void]>([])

    func subscribe(_ handler: @escaping @Sendable (Change) -> Void) {
        handlers.withLock { $0.append(handler) }
    }

    func publish(_ change: Change) {
        for handler in handlers.withLock({ $0 }) { handler(change) }
    }
}

/// A GRDB connection behind ``Connection``; used only inside the closure that GRDB handed it to.
struct SQLiteConnection: Connection {
    let db: GRDB.Database
    let damages: Damage

    func run(_ text: String, _ values: [Value]) throws -> (rows: [Row], changes: Int) {
        do {
            let statement = try db.cachedStatement(sql: text)
            let arguments = StatementArguments(values.map(\.databaseValue))
            guard statement.columnCount > 0 else {
                try statement.execute(arguments: arguments)
                return ([], db.changesCount)
            }
            let columns = statement.columnNames
            let cursor = try GRDB.Row.fetchCursor(statement, arguments: arguments)
            var rows: [Row] = []
            while let row = try cursor.next() {
                rows.append(Row(columns: columns, values: row.databaseValues.map(Value.init)))
            }
            return (rows, rows.count)
        } catch let error as GRDB.DatabaseError {
            throw damages.noting(DatabaseError(error))
        }
    }
}

extension Value {
    fileprivate var databaseValue: DatabaseValue {
        switch self {
        case .null: .null
        case .text(let text): text.databaseValue
        case .integer(let integer): integer.databaseValue
        case .bool(let flag): flag.databaseValue
        case .blob(let bytes): Data(bytes).databaseValue
        }
    }

    fileprivate init(_ value: DatabaseValue) {
        switch value.storage {
        case .null: self = .null
        case .int64(let integer): self = .integer(integer)
        case .double(let double): self = .text(double.description)
        case .string(let text): self = .text(text)
        case .blob(let data): self = .blob(Array(data))
        }
    }
}

extension DatabaseError {
    /// SQLite names the columns of a unique constraint, `users.collection_id, users.email`; ours is
    /// `users_collection_id_email`.
    init(_ error: GRDB.DatabaseError) {
        let message = error.message ?? "no message"
        switch error.extendedResultCode {
        case .SQLITE_CONSTRAINT_UNIQUE, .SQLITE_CONSTRAINT_PRIMARYKEY:
            let columns = message.drop { $0 != ":" }.dropFirst().split(separator: ",")
            let pairs = columns.map { $0.trimmingPrefix(while: \.isWhitespace).split(separator: ".") }
            let names = pairs.compactMap(\.last)
            self = .unique(([pairs.first?.first ?? ""] + names).joined(separator: "_"))
        default:
            switch error.resultCode {
            case .SQLITE_CONSTRAINT: self = .constraint(message)
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .damaged("\(message). \(Damage.advice)")
            case .SQLITE_IOERR where Self.readFailures.contains(error.extendedResultCode):
                self = .damaged("\(message). \(Damage.advice)")
            case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_FULL, .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY,
                .SQLITE_NOMEM, .SQLITE_PROTOCOL, .SQLITE_PERM:
                self = .unavailable(message)
            default: self = .failed("\(error.extendedResultCode.rawValue): \(message)")
            }
        }
    }
    /// The disk gives no bytes, or other ones than were written.
    private static let readFailures: [ResultCode] = [
        .SQLITE_IOERR_READ, .SQLITE_IOERR_SHORT_READ, .SQLITE_IOERR_CORRUPTFS, .SQLITE_IOERR_DATA, .SQLITE_IOERR_FSTAT,
    ]
}
