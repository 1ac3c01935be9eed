import Crypto

/// One step of the schema.
///
/// Immutable once released: its digest is stored and compared at every start.
package struct Migration: Sendable {
    package let number: Int
    package let name: String
    /// Statements separated by an empty line, with the tokens of ``Dialect``; one behind `{postgres}` is for that engine
    /// alone.
    package let text: String

    package init(_ number: Int, _ name: String, _ text: String) {
        self.number = number
        self.name = name
        self.text = text
    }

    private static let postgresOnly = "{postgres}"

    /// Where the steps that were run are written down.
    static let table = "schema_migrations"

    /// Hex SHA-256 of the text as written, before the tokens are replaced.
    package var digest: String {
        SHA256.hash(data: Array(text.utf8)).map { byte in
            let hex = String(byte, radix: 16)
            return byte < 16 ? "0" + hex : hex
        }.joined()
    }

    func statements(for dialect: Dialect) -> [String] {
        dialect.expand(text).split(separator: "\n\n").compactMap { statement in
            guard statement.hasPrefix(Self.postgresOnly) else { return String(statement) }
            return dialect == .postgres ? String(statement.dropFirst(Self.postgresOnly.count)) : nil
        }
    }
}

extension Database {
    /// Brings the schema up to date, all steps in one transaction, and tells which were run.
    ///
    /// Of processes that start at once, one does; where nothing is to be done, nothing needs the right to define tables.
    ///
    /// Throws ``DatabaseError/schema(_:)`` when a step that was run before has another text now, when the database has
    /// steps that this binary doesn't know, or when the database's user may not define tables.
    @discardableResult
    package func migrate(_ migrations: [Migration], at milliseconds: Int64) async throws -> [Migration] {
        let migrations = migrations.sorted { $0.number < $1.number }
        if try await missing(of: migrations).isEmpty { return [] }
        do {
            return try await writeAlone { tx in
                try tx.createMigrationsTable()
                let missing = try tx.appliedMigrations().missing(of: migrations)
                for migration in missing { try tx.apply(migration, at: milliseconds) }
                return missing
            }
        } catch DatabaseError.denied(let message) {
            throw DatabaseError.schema(
                """
                The schema can't be brought up to date: \(message). Let the database's user define tables (as the owner: \
                `GRANT CREATE ON SCHEMA public TO <user>`), or run `latchkey migrate` as a user who may.
                """
            )
        }
    }

    /// Those that were not run here yet.
    package func missing(of migrations: [Migration]) async throws -> [Migration] {
        try await appliedMigrations()?.missing(of: migrations) ?? migrations
    }

    /// Nil before the first migration.
    private func appliedMigrations() async throws -> AppliedMigrations? {
        do {
            return try await read { tx in try tx.appliedMigrations() }
        } catch DatabaseError.failed {
            // There is no such table. Anything else that's wrong comes up again.
            return nil
        }
    }
}

/// Digests of the steps that were run, by number.
private struct AppliedMigrations: Sendable {
    let digests: [Int: String]

    func missing(of migrations: [Migration]) throws -> [Migration] {
        if let unknown = digests.keys.sorted().first(where: { number in !migrations.contains { $0.number == number } })
        {
            throw DatabaseError.schema(
                "The database has migration \(unknown), which this version doesn't know: it was used by a newer latchkey. "
                    + "Run that version, or restore a backup made before the upgrade."
            )
        }
        return try migrations.filter { migration in
            guard let digest = digests[migration.number] else { return true }
            guard digest == migration.digest else {
                throw DatabaseError.schema(
                    "Migration \(migration.number) (\(migration.name)) was run here with another text than this version's."
                )
            }
            return false
        }
    }
}

extension Transaction {
    fileprivate func createMigrationsTable() throws {
        try define(
            dialect.expand(
                """
                CREATE TABLE IF NOT EXISTS \(Migration.table) (
                    number {int} NOT NULL PRIMARY KEY,
                    name TEXT NOT NULL,
                    digest TEXT NOT NULL,
                    applied_at {int} NOT NULL
                ){strict}
                """
            )
        )
    }

    fileprivate func appliedMigrations() throws -> AppliedMigrations {
        let rows = try all("SELECT number, digest FROM schema_migrations")
        return AppliedMigrations(
            digests: try Dictionary(
                uniqueKeysWithValues: rows.map { row in (try row.get("number"), try row.get("digest")) }
            )
        )
    }

    fileprivate func apply(_ migration: Migration, at milliseconds: Int64) throws {
        for statement in migration.statements(for: dialect) { try define(statement) }
        try execute(
            """
            INSERT INTO schema_migrations (number, name, digest, applied_at)
            VALUES (\(migration.number), \(migration.name), \(migration.digest), \(milliseconds))
            """
        )
    }
}
