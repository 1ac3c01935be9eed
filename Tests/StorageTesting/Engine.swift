import Foundation

@testable import Storage

/// The engines that every suite runs on.
///
/// `LATCHKEY_TEST_ENGINES=sqlite` leaves PostgreSQL out; otherwise it must be there (`scripts/with-postgres`).
package enum Engine: String, CaseIterable, CustomStringConvertible, Sendable {
    case sqlite
    case postgres
    /// With a pool of one connection: finds what waits for a second one while it holds the first.
    case postgresSingle = "postgres-single"

    package static let available: [Engine] = {
        guard let names = ProcessInfo.processInfo.environment["LATCHKEY_TEST_ENGINES"] else { return allCases }
        return names.split(separator: ",").compactMap { Engine(rawValue: String($0)) }
    }()

    /// Those on which two transactions can be open at the same time.
    package static let concurrent = available.filter { $0 != .postgresSingle }

    package var description: String { rawValue }

    /// A new database with these migrations, deleted when nobody holds it any more.
    package func open(_ migrations: [Migration] = []) async throws -> any Database {
        try await openNodes(1, migrations)[0]
    }

    /// A new, empty database whose searches have other limits.
    package func open(searches: SearchLimits) async throws -> any Database {
        try await openNodes(1, searches: searches)[0]
    }

    /// One new database, opened as by so many processes.
    package func openNodes(_ count: Int, _ migrations: [Migration] = [], searches: SearchLimits = SearchLimits())
        async throws -> [any Database]
    {
        var opened: [any Database] = []
        switch self {
        case .sqlite:
            let directory = try TemporaryDirectory()
            for _ in 0..<count {
                opened.append(try SQLiteDatabase(path: directory.file("latchkey.db"), searches: searches))
            }
            if !migrations.isEmpty { try await opened[0].migrate(migrations, at: 0) }
            let home = Home { directory.remove() }
            return opened.map { TemporaryDatabase($0, in: home) }
        case .postgres, .postgresSingle:
            let made = try await PostgresHome.make(migrations)
            let home = Home { made.drop() }
            for _ in 0..<count {
                opened.append(try await made.open(connections: self == .postgres ? 4 : 1, searches: searches))
            }
            return opened.map { TemporaryDatabase($0, in: home) }
        }
    }

    /// A new database with these tables, written with the tokens of ``Dialect``.
    package func open(with tables: String) async throws -> any Database {
        try await open([Migration(1, "tables", tables)])
    }
}

/// Where a database lives; it goes with its last holder.
private final class Home: Sendable {
    private let remove: @Sendable () -> Void

    init(remove: @escaping @Sendable () -> Void) {
        self.remove = remove
    }

    deinit { remove() }
}

/// A database that is closed when nobody holds it any more.
private final class TemporaryDatabase: Database {
    private let database: any Database
    private let home: Home

    init(_ database: any Database, in home: Home) {
        self.database = database
        self.home = home
    }

    /// On a thread that is none of the database's: the last reference may go with a closure that it runs.
    deinit {
        DispatchQueue.global().async { [database, home] in
            try? database.close()
            withExtendedLifetime(home) {}
        }
    }

    var dialect: Dialect { database.dialect }
    var hearsOthers: Bool { database.hearsOthers }
    var damage: String? { database.damage }

    func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await database.read(body)
    }

    func search<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await database.search(body)
    }

    func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await database.write(body)
    }

    func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await database.writeAlone(body)
    }

    func onChange(_ handler: @escaping @Sendable (Change) -> Void) { database.onChange(handler) }
    func watch() async throws { try await database.watch() }
    func tell(_ topics: [String]) async throws { try await database.tell(topics) }
    func close() throws { try database.close() }
}

extension Database {
    /// One statement as a transaction of its own; tells how many rows it changed.
    @discardableResult
    package func run(_ sql: SQL) async throws -> Int {
        try await write { tx in try tx.execute(sql) }
    }
}
