import StorageTesting
import Testing

@testable import Storage

struct MigrationTests {
    private static let first = Migration(
        1,
        "users",
        "CREATE TABLE users (id TEXT NOT NULL, CONSTRAINT users_id PRIMARY KEY (id)){strict}"
    )
    private static let second = Migration(
        2,
        "notes",
        """
        CREATE TABLE notes (id {int} NOT NULL){strict}

        INSERT INTO notes (id) VALUES (42)
        """
    )

    private func applied(_ db: any Database) async throws -> [Int] {
        try await db.read { tx in
            try tx.all("SELECT number FROM schema_migrations ORDER BY number").map { try $0.get("number") }
        }
    }

    private func schemaProblem(_ db: any Database, _ migrations: [Migration]) async -> String {
        do {
            try await db.migrate(migrations, at: 9)
            return "no problem"
        } catch DatabaseError.schema(let text) {
            return text
        } catch {
            return "another error: \(error)"
        }
    }

    @Test(arguments: Engine.available)
    func `migrations run once, in the order of their numbers`(_ engine: Engine) async throws {
        let db = try await engine.open()
        #expect(try await db.migrate([Self.second, Self.first], at: 7).map(\.number) == [1, 2])
        #expect(try await db.migrate([Self.first, Self.second], at: 8).map(\.number) == [])
        let rows = try await db.read { tx in
            try tx.all("SELECT number, name, digest, applied_at FROM schema_migrations ORDER BY number")
        }
        #expect(try rows.map { try $0.get("number", as: Int.self) } == [1, 2])
        #expect(try rows.map { try $0.get("name", as: String.self) } == ["users", "notes"])
        #expect(try rows.map { try $0.get("digest", as: String.self) } == [Self.first.digest, Self.second.digest])
        #expect(try rows.map { try $0.get("applied_at", as: Int.self) } == [7, 7])
        #expect(
            try await db.read { tx in try tx.all("SELECT id FROM notes").map { try $0.get("id", as: Int.self) } } == [
                42
            ]
        )
    }

    @Test(arguments: Engine.available)
    func `a later version runs only what is new`(_ engine: Engine) async throws {
        let db = try await engine.open()
        try await db.migrate([Self.first], at: 0)
        try await db.run("INSERT INTO users (id) VALUES ('ada')")
        #expect(try await db.migrate([Self.first, Self.second], at: 1).map(\.number) == [2])
        #expect(try await db.read { tx in try tx.one("SELECT id FROM users")?.get("id") } == "ada")
    }

    @Test(arguments: Engine.available)
    func `a database that is newer is refused and left alone`(_ engine: Engine) async throws {
        let db = try await engine.open()
        try await db.migrate([Self.first, Self.second], at: 0)
        let third = Migration(3, "more", "CREATE TABLE more (id TEXT){strict}")
        #expect(
            await schemaProblem(db, [Self.first, third]) == """
                The database has migration 2, which this version doesn't know: it was used by a newer latchkey. Run that version, \
                or restore a backup made before the upgrade.
                """
        )
        #expect(try await applied(db) == [1, 2])
    }

    @Test(arguments: Engine.available)
    func `a migration that was edited after it was run is refused`(_ engine: Engine) async throws {
        let db = try await engine.open()
        try await db.migrate([Self.first], at: 0)
        let edited = Migration(1, "users", Self.first.text + " ")
        #expect(
            await schemaProblem(db, [edited, Self.second])
                == "Migration 1 (users) was run here with another text than this version's."
        )
        #expect(try await applied(db) == [1])
        #expect(try await db.migrate([Self.first, Self.second], at: 1).map(\.number) == [2])
    }

    @Test(arguments: Engine.available)
    func `a migration that fails leaves nothing, nor do those before it`(_ engine: Engine) async throws {
        let db = try await engine.open()
        let failing = Migration(
            2,
            "failing",
            "CREATE TABLE half (id TEXT){strict}\n\nINSERT INTO nowhere (id) VALUES (1)"
        )
        await #expect(throws: DatabaseError.self) { try await db.migrate([Self.first, failing], at: 0) }
        for table in ["SELECT * FROM users", "SELECT * FROM half", "SELECT * FROM schema_migrations"] as [SQL] {
            await #expect(throws: DatabaseError.self) { _ = try await db.read { tx in try tx.all(table) } }
        }
        #expect(try await db.migrate([Self.first, Self.second], at: 1).map(\.number) == [1, 2])
    }

    @Test(arguments: Engine.available)
    func `of processes that migrate at once, one does`(_ engine: Engine) async throws {
        let db = try await engine.open()
        let runs = try await withThrowingTaskGroup(of: [Int].self) { group in
            for _ in 0..<8 { group.addTask { try await db.migrate([Self.first, Self.second], at: 0).map(\.number) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(runs.filter { $0 == [1, 2] }.count == 1)
        #expect(runs.filter { $0.isEmpty }.count == 7)
    }

    @Test func `the digest is the SHA-256 of the text as it is written`() {
        #expect(Migration(1, "any", "abc").digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(Migration(1, "any", "{int}").digest != Migration(1, "any", "INTEGER").digest)
    }

    @Test func `the tokens of the definition language are replaced for each engine`() {
        let text = "a {int}, b {bool} DEFAULT {true}, c {blob}, d {bool} DEFAULT {false}, e {int}){strict}"
        #expect(
            Dialect.sqlite.expand(text)
                == "a INTEGER, b INTEGER DEFAULT 1, c BLOB, d INTEGER DEFAULT 0, e INTEGER) STRICT"
        )
        #expect(
            Dialect.postgres.expand(text)
                == "a BIGINT, b BOOLEAN DEFAULT TRUE, c BYTEA, d BOOLEAN DEFAULT FALSE, e BIGINT)"
        )
        for dialect in Dialect.allCases {
            #expect(dialect.expand("CREATE TABLE plain (id TEXT)") == "CREATE TABLE plain (id TEXT)")
            #expect(dialect.expand("{unknown}") == "{unknown}")
        }
    }

    @Test func `a statement can be for PostgreSQL alone`() {
        let migration = Migration(1, "two", "CREATE TABLE a (x {int})\n\n{postgres}ALTER TABLE a SET (fillfactor = 70)")
        #expect(migration.statements(for: .sqlite) == ["CREATE TABLE a (x INTEGER)"])
        #expect(
            migration.statements(for: .postgres) == [
                "CREATE TABLE a (x BIGINT)", "ALTER TABLE a SET (fillfactor = 70)",
            ]
        )
    }

    @Test func `statements are separated by an empty line`() {
        let migration = Migration(
            1,
            "three",
            "CREATE TABLE a (\n    x {int}\n)\n\nCREATE TABLE b (x {bool})\n\nDROP TABLE c"
        )
        #expect(
            migration.statements(for: .postgres) == [
                "CREATE TABLE a (\n    x BIGINT\n)", "CREATE TABLE b (x BOOLEAN)", "DROP TABLE c",
            ]
        )
    }
}
