import Storage
import Testing

/// The engines that the conformance suites run on.
///
/// PostgreSQL joins here, and nowhere else.
enum Engine: CaseIterable, CustomTestStringConvertible {
    case sqlite

    /// Those that this machine can run.
    static var available: [Engine] { allCases }

    var testDescription: String {
        switch self {
        case .sqlite: "SQLite"
        }
    }

    /// A new empty database, deleted when nobody holds it any more.
    func open() async throws -> any Database {
        switch self {
        case .sqlite:
            let directory = try TemporaryDirectory()
            return Temporary(database: try SQLiteDatabase(path: directory.file("test.db")), directory: directory)
        }
    }

    /// A new database with these tables, written with the tokens of ``Dialect``.
    func open(with tables: String) async throws -> any Database {
        let db = try await open()
        try await db.migrate([Migration(1, "tables", tables)], at: 0)
        return db
    }
}

/// A database together with the directory that goes when it goes.
private final class Temporary: Database {
    private let database: any Database
    private let directory: TemporaryDirectory

    init(database: any Database, directory: TemporaryDirectory) {
        self.database = database
        self.directory = directory
    }

    var dialect: Dialect { database.dialect }

    func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await database.read(body)
    }

    func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await database.write(body)
    }

    func onChange(_ handler: @escaping @Sendable (Change) -> Void) { database.onChange(handler) }

    func watch() async throws { try await database.watch() }

    func close() throws { try database.close() }
}

extension Database {
    /// One statement as a transaction of its own; tells how many rows it changed.
    @discardableResult
    func run(_ sql: SQL) async throws -> Int {
        try await write { tx in try tx.execute(sql) }
    }
}
