import Storage
import StorageTesting
import Testing

/// The SQL that both engines understand alike: the subset that the product's statements stay in.
struct StatementConformanceTests {
    private static let tables = """
        CREATE TABLE owners (
            id TEXT NOT NULL,
            CONSTRAINT owners_id PRIMARY KEY (id)
        ){strict}

        CREATE TABLE things (
            id {int} NOT NULL,
            owner_id TEXT REFERENCES owners (id) ON DELETE CASCADE,
            kind TEXT NOT NULL DEFAULT 'plain' CHECK (kind IN ('plain', 'main')),
            label TEXT,
            is_set {bool} NOT NULL DEFAULT {false},
            CONSTRAINT things_id PRIMARY KEY (id),
            CONSTRAINT things_owner_id_label UNIQUE (owner_id, label)
        ){strict}

        CREATE UNIQUE INDEX things_owner_id ON things (owner_id) WHERE kind = 'main'
        """

    private func open(_ engine: Engine) async throws -> any Database {
        let db = try await engine.open(with: Self.tables)
        try await db.write { tx in
            try tx.execute("INSERT INTO owners (id) VALUES ('ada'), ('bob')")
            try tx.execute(
                """
                INSERT INTO things (id, owner_id, kind, label) VALUES
                    (1, 'ada', 'main', 'one'), (2, 'ada', 'plain', 'two'), (3, 'bob', 'plain', '50%_a\\b'), (4, NULL, 'plain', NULL)
                """
            )
        }
        return db
    }

    private func ids(_ db: any Database, where condition: SQL) async throws -> [Int] {
        try await db.read { tx in
            try tx.all("SELECT id FROM things WHERE \(condition) ORDER BY id").map { try $0.get("id") }
        }
    }

    @Test(arguments: Engine.available)
    func `RETURNING gives the rows as they have become`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let added = try await db.write { tx in
            try tx.one("INSERT INTO things (id, label) VALUES (\(9), \("new")) RETURNING id, kind, is_set")
        }
        #expect(try added?.get("id") == 9)
        #expect(try added?.get("kind") == "plain")
        #expect(try added?.get("is_set") == false)
        let changed = try await db.write { tx in
            try tx.all("UPDATE things SET is_set = \(true) WHERE owner_id = \("ada") RETURNING id, is_set")
        }
        #expect(try changed.map { try $0.get("id", as: Int.self) }.sorted() == [1, 2])
        #expect(try changed.allSatisfy { try $0.get("is_set") })
        let removed = try await db.write { tx in try tx.one("DELETE FROM things WHERE id = \(2) RETURNING label") }
        #expect(try removed?.get("label") == "two")
        let none = try await db.write { tx in try tx.one("DELETE FROM things WHERE id = \(2) RETURNING label") }
        #expect(none == nil)
        #expect(try await ids(db, where: "TRUE") == [1, 3, 4, 9])
    }

    @Test(arguments: Engine.available)
    func `an upsert inserts, then updates`(_ engine: Engine) async throws {
        let db = try await open(engine)
        for label in ["first", "second"] {
            try await db.run(
                """
                INSERT INTO things (id, label) VALUES (\(7), \(label))
                ON CONFLICT (id) DO UPDATE SET label = excluded.label, is_set = \(true)
                """
            )
        }
        let row = try #require(try await db.read { tx in try tx.one("SELECT label, is_set FROM things WHERE id = 7") })
        #expect(try row.get("label") == "second")
        #expect(try row.get("is_set") == true)
    }

    @Test(arguments: Engine.available)
    func `the number of changed rows is told`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let counts = try await db.write { tx in
            [
                try tx.execute("UPDATE things SET is_set = \(true) WHERE owner_id = 'ada'"),
                try tx.execute("UPDATE things SET is_set = \(true) WHERE owner_id = 'nobody'"),
                try tx.execute("INSERT INTO things (id) VALUES (5), (6), (7)"),
                try tx.execute("INSERT INTO things (id) VALUES (5) ON CONFLICT (id) DO NOTHING"),
                try tx.execute("DELETE FROM things WHERE id >= 6"),
                try tx.execute("DELETE FROM things WHERE id >= 6"),
            ]
        }
        #expect(counts == [2, 0, 3, 0, 2, 0])
    }

    @Test(arguments: Engine.available)
    func `rows that a foreign key takes along are not counted`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let count = try await db.run("DELETE FROM owners WHERE id = 'ada'")
        #expect(count == 1)
        #expect(try await ids(db, where: "TRUE") == [3, 4])
    }

    @Test(arguments: Engine.available)
    func `a partial unique index binds only the rows of its condition`(_ engine: Engine) async throws {
        let db = try await open(engine)
        try await db.run("INSERT INTO things (id, owner_id, label) VALUES (5, 'ada', 'x'), (6, 'ada', 'y')")
        await #expect(throws: DatabaseError.unique("things_owner_id")) {
            try await db.run("UPDATE things SET kind = 'main' WHERE id = 5")
        }
        #expect(try await ids(db, where: "kind = 'main'") == [1])
    }

    @Test(arguments: Engine.available)
    func `a unique violation names the table and its columns`(_ engine: Engine) async throws {
        let db = try await open(engine)
        await #expect(throws: DatabaseError.unique("things_id")) {
            try await db.run("INSERT INTO things (id) VALUES (\(1))")
        }
        await #expect(throws: DatabaseError.unique("owners_id")) {
            try await db.run("INSERT INTO owners (id) VALUES (\("ada"))")
        }
        await #expect(throws: DatabaseError.unique("things_owner_id_label")) {
            try await db.run("UPDATE things SET label = \("one") WHERE id = 2")
        }
    }

    @Test(arguments: Engine.available)
    func `NULLs do not collide in a unique constraint`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let count = try await db.run(
            "INSERT INTO things (id, owner_id, label) VALUES (5, 'ada', NULL), (6, 'ada', NULL), (7, NULL, 'one')"
        )
        #expect(count == 3)
    }

    @Test(
        arguments: Engine.available,
        [
            "INSERT INTO things (id, owner_id) VALUES (5, 'nobody')",
            "UPDATE things SET owner_id = 'nobody' WHERE id = 1",
            "INSERT INTO things (id, kind) VALUES (5, NULL)",
            "INSERT INTO things (id, kind) VALUES (5, 'other')",
        ] as [SQL]
    )
    func `foreign keys, NOT NULL and CHECK refuse the write`(_ engine: Engine, _ statement: SQL) async throws {
        let db = try await open(engine)
        let error = await #expect(throws: DatabaseError.self) {
            try await db.run(statement)
        }
        guard case .constraint? = error else {
            Issue.record("not a constraint: \(String(describing: error))")
            return
        }
        #expect(try await ids(db, where: "TRUE") == [1, 2, 3, 4])
    }

    @Test(arguments: Engine.available)
    func `bound values do not appear in errors`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let secret = "s3cret-value"
        let statements: [SQL] = [
            "INSERT INTO owners (id) VALUES (\(secret)), (\(secret))",
            "INSERT INTO things (id, owner_id) VALUES (8, \(secret))",
            "INSERT INTO things (id, kind) VALUES (8, \(secret))",
            "INSERT INTO nowhere (id) VALUES (\(secret))",
        ]
        for statement in statements {
            let error = await #expect(throws: DatabaseError.self) {
                try await db.run(statement)
            }
            #expect(!String(reflecting: error).contains(secret))
        }
    }

    @Test(arguments: Engine.available)
    func `a statement that cannot be understood fails`(_ engine: Engine) async throws {
        let db = try await open(engine)
        for statement in ["SELEKT 1", "SELECT missing FROM things", "SELECT * FROM missing"] as [SQL] {
            let error = await #expect(throws: DatabaseError.self) {
                _ = try await db.read { tx in try tx.all(statement) }
            }
            guard case .failed? = error else {
                Issue.record("not a failure: \(String(describing: error))")
                continue
            }
        }
    }

    @Test(arguments: Engine.available)
    func `LIKE takes an escape character`(_ engine: Engine) async throws {
        let db = try await open(engine)
        #expect(try await ids(db, where: "label LIKE \("%o%") ESCAPE '\\'") == [1, 2])
        #expect(try await ids(db, where: "label LIKE \("%0\\%\\_a%") ESCAPE '\\'") == [3])
        #expect(try await ids(db, where: "label LIKE \("%\\\\b") ESCAPE '\\'") == [3])
        #expect(try await ids(db, where: "label LIKE \("\\%%") ESCAPE '\\'") == [])
        #expect(try await ids(db, where: "label LIKE \("t_o") ESCAPE '\\'") == [2])
    }

    @Test(arguments: Engine.available)
    func `IS NOT DISTINCT FROM compares NULL with NULL`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let nobody: String? = nil
        #expect(try await ids(db, where: "owner_id IS NOT DISTINCT FROM \(nobody)") == [4])
        #expect(try await ids(db, where: "owner_id IS NOT DISTINCT FROM \("bob")") == [3])
        #expect(try await ids(db, where: "owner_id IS DISTINCT FROM \("ada")") == [3, 4])
    }

    @Test(arguments: Engine.available)
    func `aggregates take a FILTER`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let found = try await db.read { tx in
            try tx.one(
                "SELECT count(*) AS count, count(*) FILTER (WHERE owner_id = \("ada")) AS ada, max(id) AS most FROM things"
            )
        }
        let row = try #require(found)
        #expect(try row.get("count") == 4)
        #expect(try row.get("ada") == 2)
        #expect(try row.get("most") == 4)
    }

    @Test(arguments: Engine.available)
    func `flags are compared with bound flags and with TRUE`(_ engine: Engine) async throws {
        let db = try await open(engine)
        try await db.run("UPDATE things SET is_set = \(true) WHERE id = 2")
        #expect(try await ids(db, where: "is_set = \(true)") == [2])
        #expect(try await ids(db, where: "is_set <> \(true) AND TRUE") == [1, 3, 4])
        #expect(try await ids(db, where: "NOT is_set") == [1, 3, 4])
    }

    @Test(arguments: Engine.available)
    func `a large result comes whole and in order`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let added = try await db.run(
            """
            INSERT INTO things (id, label)
            WITH RECURSIVE numbers (n) AS (SELECT 101 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20100)
            SELECT n, 'thing' FROM numbers
            """
        )
        #expect(added == 20_000)
        #expect(try await ids(db, where: "id > 100") == Array(101...20_100))
        let page = try await db.read { tx in
            try tx.all("SELECT id FROM things WHERE id > 100 ORDER BY id LIMIT \(3) OFFSET \(19_998)").map {
                try $0.get("id", as: Int.self)
            }
        }
        #expect(page == [20_099, 20_100])
    }
}
