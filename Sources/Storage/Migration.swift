import Crypto

/// One step of the schema.
///
/// Immutable once released: its digest is stored and compared at every start.
package struct Migration: Sendable {
    package let number: Int
    package let name: String
    /// Statements separated by an empty line, with the tokens of ``Dialect``.
    package let text: String

    package init(_ number: Int, _ name: String, _ text: String) {
        self.number = number
        self.name = name
        self.text = text
    }

    /// Hex SHA-256 of the text as written, before the tokens are replaced.
    package var digest: String {
        SHA256.hash(data: Array(text.utf8)).map { byte in
            let hex = String(byte, radix: 16)
            return byte < 16 ? "0" + hex : hex
        }.joined()
    }

    func statements(for dialect: Dialect) -> [String] {
        dialect.expand(text).split(separator: "\n\n").map(String.init)
    }
}

extension Database {
    /// Brings the schema up to date, all steps in one transaction, and tells which were run.
    ///
    /// Throws ``DatabaseError/schema(_:)`` when a step that was run before has another text now, or when the database
    /// has steps that this binary doesn't know.
    @discardableResult
    package func migrate(_ migrations: [Migration], at milliseconds: Int64) async throws -> [Migration] {
        try await write { tx in
            try tx.lockSchema()
            let applied = try tx.appliedMigrations()
            if let unknown = applied.keys.sorted().first(where: { number in
                !migrations.contains { $0.number == number }
            }) {
                throw DatabaseError.schema(
                    "The database has migration \(unknown), which this version doesn't know: it was used by a newer latchkey. "
                        + "Run that version, or restore a backup made before the upgrade."
                )
            }
            var run: [Migration] = []
            for migration in migrations.sorted(by: { $0.number < $1.number }) {
                if let digest = applied[migration.number] {
                    guard digest == migration.digest else {
                        throw DatabaseError.schema(
                            "Migration \(migration.number) (\(migration.name)) was run here with another text than this version's."
                        )
                    }
                } else {
                    try tx.apply(migration, at: milliseconds)
                    run.append(migration)
                }
            }
            return run
        }
    }
}

extension Transaction {
    /// A first write, so that two processes can't migrate at once: SQLite then holds its write lock.
    fileprivate func lockSchema() throws {
        try define(
            dialect.expand(
                """
                CREATE TABLE IF NOT EXISTS schema_migrations (
                    number {int} NOT NULL PRIMARY KEY,
                    name TEXT NOT NULL,
                    digest TEXT NOT NULL,
                    applied_at {int} NOT NULL
                ){strict}
                """
            )
        )
    }

    fileprivate func appliedMigrations() throws -> [Int: String] {
        let rows = try all("SELECT number, digest FROM schema_migrations")
        return try Dictionary(uniqueKeysWithValues: rows.map { row in (try row.get("number"), try row.get("digest")) })
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
