import Storage
import StorageTesting
import Testing

/// What every engine must do alike: values, as they are stored and read.
struct ConformanceTests {
    private static let values = """
        CREATE TABLE things (
            id {int} NOT NULL,
            label TEXT,
            amount {int},
            is_set {bool},
            bytes {blob},
            CONSTRAINT things_id PRIMARY KEY (id)
        ){strict}
        """

    @Test(arguments: Engine.available)
    func `texts come back as they were stored`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        let texts = [
            "", " ", "plain", "it's \"quoted\"; DROP TABLE things; --", "$1 ? :name @x %_\\", "line\r\nbreak\ttab",
            "\u{1}\u{7F}",
            "Grüße", "e\u{301}", "日本語", "👩‍👩‍👧‍👦", "\u{FFFD}\u{10FFFF}", "null", "0",
            String(repeating: "long 🐍 ", count: 100_000),
        ]
        try await db.write { tx in
            for (id, text) in texts.enumerated() {
                try tx.execute("INSERT INTO things (id, label) VALUES (\(id), \(text))")
            }
        }
        let read = try await db.read { tx in
            try tx.all("SELECT label FROM things ORDER BY id").map { try $0.get("label", as: String.self) }
        }
        // By bytes: Swift takes two spellings of é for the same text.
        #expect(read.map { Array($0.utf8) } == texts.map { Array($0.utf8) })
    }

    @Test(arguments: Engine.available)
    func `integers come back as they were stored`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        let integers: [Int64] = [.min, .min + 1, -1 << 53 - 1, -1, 0, 1, 1 << 31, 1 << 32, 1 << 53 + 1, .max - 1, .max]
        try await db.write { tx in
            for (id, integer) in integers.enumerated() {
                try tx.execute("INSERT INTO things (id, amount) VALUES (\(id), \(integer))")
            }
        }
        let read = try await db.read { tx in
            try tx.all("SELECT amount FROM things ORDER BY id").map { try $0.get("amount", as: Int64.self) }
        }
        #expect(read == integers)
    }

    @Test(arguments: Engine.available)
    func `flags and bytes come back as they were stored`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        let blobs: [[UInt8]] = [
            [], [0], [0, 0, 0], Array(0...255), Array(repeating: 0xFF, count: 1 << 20), Array("text".utf8),
        ]
        try await db.write { tx in
            for (id, bytes) in blobs.enumerated() {
                try tx.execute("INSERT INTO things (id, is_set, bytes) VALUES (\(id), \(id % 2 == 0), \(bytes))")
            }
        }
        let rows = try await db.read { tx in try tx.all("SELECT is_set, bytes FROM things ORDER BY id") }
        #expect(try rows.map { try $0.get("bytes", as: [UInt8].self) } == blobs)
        #expect(try rows.map { try $0.get("is_set", as: Bool.self) } == [true, false, true, false, true, false])
    }

    @Test(arguments: Engine.available)
    func `nil is NULL in each type and comes back as nil`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        let (text, integer, flag, bytes): (String?, Int64?, Bool?, [UInt8]?) = (nil, nil, nil, nil)
        try await db.run(
            "INSERT INTO things (id, label, amount, is_set, bytes) VALUES (1, \(text), \(integer), \(flag), \(bytes))"
        )
        let found = try await db.read { tx in
            try tx.one(
                """
                SELECT label, amount, is_set, bytes FROM things
                WHERE label IS NULL AND amount IS NULL AND is_set IS NULL AND bytes IS NULL
                """
            )
        }
        let row = try #require(found)
        #expect(try row.get("label", as: String?.self) == nil)
        #expect(try row.get("amount", as: Int64?.self) == nil)
        #expect(try row.get("is_set", as: Bool?.self) == nil)
        #expect(try row.get("bytes", as: [UInt8]?.self) == nil)
        #expect(throws: DatabaseError.unreadable("label")) { try row.get("label", as: String.self) }
    }

    @Test(arguments: Engine.available)
    func `an empty text and empty bytes are not NULL`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        try await db.run("INSERT INTO things (id, label, bytes) VALUES (1, \(""), \([UInt8]()))")
        let count = try await db.read { tx in
            try tx.one("SELECT count(*) AS count FROM things WHERE label IS NOT NULL AND bytes IS NOT NULL")?
                .get("count", as: Int.self)
        }
        #expect(count == 1)
    }

    @Test(arguments: Engine.available)
    func `a column of another type, or none, is an error that names it`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        try await db.run(
            "INSERT INTO things (id, label, amount, is_set, bytes) VALUES (1, 'text', 7, \(true), \([UInt8(1)]))"
        )
        let row = try #require(try await db.read { tx in try tx.one("SELECT * FROM things") })
        #expect(throws: DatabaseError.unreadable("label")) { try row.get("label", as: Int64.self) }
        #expect(throws: DatabaseError.unreadable("label")) { try row.get("label", as: [UInt8].self) }
        #expect(throws: DatabaseError.unreadable("amount")) { try row.get("amount", as: String.self) }
        #expect(throws: DatabaseError.unreadable("amount")) { try row.get("amount", as: Bool?.self) }
        #expect(throws: DatabaseError.unreadable("bytes")) { try row.get("bytes", as: String?.self) }
        #expect(throws: DatabaseError.unreadable("other")) { try row.get("other", as: String?.self) }
    }

    @Test(arguments: Engine.available)
    func `a fraction is not read as a whole number`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        let half = try #require(try await db.read { tx in try tx.one("SELECT 1.5 AS number") })
        try #require(throws: DatabaseError.unreadable("number")) { try half.get("number", as: Int64.self) }
        let huge = try #require(try await db.read { tx in try tx.one("SELECT 1e300 AS number") })
        #expect(throws: DatabaseError.unreadable("number")) { try huge.get("number", as: Int64.self) }
    }

    @Test(arguments: Engine.available)
    func `values are bound in the order of the text, those of nested parts too`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.values)
        let label = "first"
        let inner: SQL = "\(label), \(22)"
        let row: SQL = "(\(1), \(inner), \(true))"
        let more = (2...14).map { id -> SQL in "(\(id), \("label \(id)"), \(id * 11), \(false))" }
        try await db.run(
            "INSERT INTO things (id, label, amount, is_set) VALUES " + SQL.join([row] + more, by: ", ")
        )
        let condition: SQL = "amount BETWEEN \(100) AND \(140)"
        let rows = try await db.read { tx in
            try tx.all(
                "SELECT id, label FROM things WHERE label <> \("label 11") AND (\(condition)) AND id > \(0) ORDER BY id"
            )
        }
        #expect(try rows.map { try $0.get("id", as: Int.self) } == [10, 12])
        #expect(try rows.map { try $0.get("label", as: String.self) } == ["label 10", "label 12"])
        let first = try #require(try await db.read { tx in try tx.one("SELECT * FROM things WHERE id = \(1)") })
        #expect(try first.get("label", as: String.self) == label)
        #expect(try first.get("amount", as: Int.self) == 22)
        #expect(try first.get("is_set", as: Bool.self))
    }
}
