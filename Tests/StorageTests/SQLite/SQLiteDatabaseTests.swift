import Foundation
import Storage
import StorageTesting
import Testing

/// What is SQLite's alone: the file, its modes, and other processes on it.
struct SQLiteDatabaseTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("latchkey.db") }
    private static let notes = Migration(
        1,
        "notes",
        "CREATE TABLE notes (id {int} NOT NULL, CONSTRAINT notes_id PRIMARY KEY (id)){strict}"
    )

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func open() async throws -> SQLiteDatabase {
        let db = try SQLiteDatabase(path: path)
        try await db.migrate([Self.notes], at: 0)
        return db
    }

    private func add(_ id: Int, to db: SQLiteDatabase) async throws {
        try await db.run("INSERT INTO notes (id) VALUES (\(id))")
    }

    private func ids(_ db: SQLiteDatabase) async throws -> [Int] {
        try await db.read { tx in try tx.all("SELECT id FROM notes ORDER BY id").map { try $0.get("id") } }
    }

    @Test func `only its owner may read the file and its log`() async throws {
        let db = try await open()
        try await add(1, to: db)
        for suffix in ["", "-wal", "-shm"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: path + suffix)
            let mode = try #require(attributes[.posixPermissions] as? NSNumber)
            #expect(mode.intValue & 0o777 == 0o600, "\(suffix)")
        }
        try db.close()
    }

    @Test func `every connection logs ahead, syncs fully and checks foreign keys`() async throws {
        let db = try await open()
        for transaction in [true, false] {
            let pragmas: @Sendable (Transaction) throws -> [String] = { tx in
                [
                    try tx.one("PRAGMA journal_mode")?.get("journal_mode") ?? "-",
                    String(try tx.one("PRAGMA synchronous")?.get("synchronous") ?? -1),
                    String(try tx.one("PRAGMA foreign_keys")?.get("foreign_keys") ?? -1),
                    String(try tx.one("PRAGMA trusted_schema")?.get("trusted_schema") ?? -1),
                ]
            }
            let found = transaction ? try await db.write(pragmas) : try await db.read(pragmas)
            // 2 is FULL.
            #expect(found == ["wal", "2", "1", "0"])
        }
    }

    @Test func `what was written is there when the file is opened again`() async throws {
        let first = try await open()
        try await add(1, to: first)
        try first.close()
        let second = try await open()
        #expect(try await ids(second) == [1])
    }

    @Test func `once it is closed the file alone is complete`() async throws {
        let db = try await open()
        for id in 0..<100 { try await add(id, to: db) }
        try db.close()
        let copy = directory.file("copy.db")
        try FileManager.default.copyItem(atPath: path, toPath: copy)
        #expect(try await ids(SQLiteDatabase(path: copy)) == Array(0..<100))
    }

    @Test func `a file that cannot be opened is refused`() async throws {
        let error = #expect(throws: DatabaseError.self) {
            try SQLiteDatabase(path: directory.file("missing/latchkey.db"))
        }
        guard case .unavailable? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func `a file that is no database is refused and not touched`() async throws {
        let text = Data(repeating: UInt8(ascii: "x"), count: 8192)
        #expect(FileManager.default.createFile(atPath: path, contents: text))
        await #expect(throws: DatabaseError.self) { _ = try await open() }
        #expect(FileManager.default.contents(atPath: path) == text)
    }

    @Test func `the write of another connection is noticed, though nobody knows what it was`() async throws {
        let (db, other) = (try await open(), try await open())
        let changes = ChangeList(of: db)
        try await watching(db, changes) {
            for id in 1...3 {
                try await add(id, to: other)
                #expect(try await eventually { changes.all.count == 1 + id })
            }
        }
        #expect(changes.all == [.unknown, .unknown, .unknown, .unknown])
    }

    @Test func `own writes are not taken for another's`() async throws {
        let (db, other) = (try await open(), try await open())
        let changes = ChangeList(of: db)
        try await watching(db, changes) {
            for id in 0..<30 {
                try await add(id, to: db)
                try await Task.sleep(for: .milliseconds(Change.noticeMilliseconds / 10))
            }
            #expect(changes.all == [.unknown])
            // The watch was awake all the time: it notices this.
            try await add(100, to: other)
            #expect(try await eventually { changes.all.count == 2 })
        }
    }

    @Test func `the topics of another connection stay with it`() async throws {
        let (db, other) = (try await open(), try await open())
        let (changes, others) = (ChangeList(of: db), ChangeList(of: other))
        try await other.write { tx in tx.announce("settings") }
        #expect(others.topics == ["settings"])
        #expect(changes.all == [])
    }

    @Test func `two connections that migrate at once do it once`() async throws {
        let (first, second) = (try SQLiteDatabase(path: path), try SQLiteDatabase(path: path))
        async let one = first.migrate([Self.notes], at: 0)
        async let two = second.migrate([Self.notes], at: 0)
        #expect(try await (one + two).map(\.number) == [1])
    }

    @Test func `two connections that write at once wait for each other`() async throws {
        let (first, second) = (try await open(), try await open())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for id in 0..<100 { group.addTask { try await add(id, to: id % 2 == 0 ? first : second) } }
            try await group.waitForAll()
        }
        #expect(try await ids(first) == Array(0..<100))
        #expect(try await ids(second) == Array(0..<100))
    }

    @Test func `the schema is told in a stable order`() async throws {
        let db = try SQLiteDatabase(path: path)
        try await db.migrate(
            [
                Migration(
                    1,
                    "two",
                    "CREATE TABLE zebras (id TEXT){strict}\n\nCREATE TABLE apes (id TEXT){strict}\n\nCREATE INDEX a_index ON zebras (id)"
                )
            ],
            at: 0
        )
        #expect(
            try await db.schema() == """
                CREATE TABLE apes (id TEXT) STRICT;

                CREATE TABLE schema_migrations (
                    number INTEGER NOT NULL PRIMARY KEY,
                    name TEXT NOT NULL,
                    digest TEXT NOT NULL,
                    applied_at INTEGER NOT NULL
                ) STRICT;

                CREATE TABLE zebras (id TEXT) STRICT;

                CREATE INDEX a_index ON zebras (id);

                """
        )
    }

    /// Runs `body` while the database is watched, after the first look, which takes everything for changed.
    private func watching(_ db: SQLiteDatabase, _ changes: ChangeList, _ body: () async throws -> Void) async throws {
        let watch = Task { try await db.watch() }
        defer { watch.cancel() }
        #expect(try await eventually { changes.all == [.unknown] })
        try await body()
    }
}
