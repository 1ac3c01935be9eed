import Foundation
import StorageTesting
import Synchronization
import Testing

@testable import Storage

/// What PostgreSQL does beyond the conformance suite: conflicts, lost connections, limits.
@Suite(.enabled(if: Engine.available.contains(.postgres)))
struct PostgresDatabaseTests {
    private struct Refusal: Error {}

    private static let notes = "CREATE TABLE notes (id {int} NOT NULL PRIMARY KEY, text TEXT){strict}"

    /// Two databases on one home, as two nodes have them.
    private func open() async throws -> any Database {
        let db = try await Engine.postgres.open(with: Self.notes)
        try await db.run("INSERT INTO notes (id, text) VALUES (1, ''), (2, '')")
        return db
    }

    private func text(_ db: any Database, _ id: Int) async throws -> String? {
        try await db.read { tx in try tx.one("SELECT text FROM notes WHERE id = \(id)")?.get("text") }
    }

    // Conflicts

    /// Each reads what the other writes: one after the other, the second would have seen the first.
    @Test func `of two transactions that can't both have been first, one is run again`() async throws {
        let db = try await open()
        let (runs, first, second) = (Count(), Meeting(), Meeting())
        let copies = [(1, 2, first), (2, 1, second)].map { from, to, meeting in
            let ownRuns = Count()
            return Task {
                try await db.write { tx in
                    _ = runs.next()
                    let text: String = try tx.one("SELECT text FROM notes WHERE id = \(from)")?.get("text") ?? "?"
                    if ownRuns.next() == 1 { #expect(meeting.arriveAndWait()) }
                    try tx.execute("UPDATE notes SET text = \(text + "\(from)") WHERE id = \(to)")
                }
            }
        }
        for meeting in [first, second] { await meeting.arrival() }
        for meeting in [first, second] { meeting.letGo() }
        for copy in copies { try await copy.value }
        // The server may also find that the second run meets the first's commit, and ask for a third.
        #expect(runs.value >= 3)
        let texts = try await [text(db, 1), text(db, 2)]
        #expect(texts == ["12", "1"] || texts == ["2", "21"])
    }

    @Test func `a conflict that the closure takes for its own error is run again all the same`() async throws {
        let db = try await open()
        let (runs, meeting) = (Count(), Meeting())
        let slow = Task {
            try await db.write { tx in
                _ = try tx.one("SELECT text FROM notes WHERE id = 1")
                if runs.next() == 1 { #expect(meeting.arriveAndWait()) }
                do { try tx.execute("UPDATE notes SET text = 'slow' WHERE id = 1") } catch { throw Refusal() }
            }
        }
        await meeting.arrival()
        try await db.run("UPDATE notes SET text = 'fast' WHERE id = 1")
        meeting.letGo()
        try await slow.value
        #expect(runs.value == 2)
        #expect(try await text(db, 1) == "slow")
    }

    @Test func `a hundred writers of one row all succeed, over two nodes`() async throws {
        let nodes = try await Engine.postgres.openNodes(2, [Migration(1, "notes", Self.notes)])
        try await nodes[0].run("INSERT INTO notes (id, text) VALUES (1, '')")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask {
                    try await nodes[number % 2].write { tx in
                        let text: String = try tx.one("SELECT text FROM notes WHERE id = 1")?.get("text") ?? ""
                        try tx.execute("UPDATE notes SET text = \(text + "x") WHERE id = 1")
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await text(nodes[0], 1)?.count == 100)
    }

    @Test func `a closure that swallows a failed statement stores nothing, and is told`() async throws {
        let db = try await open()
        await #expect(throws: DatabaseError.self) {
            try await db.write { tx in
                try tx.execute("INSERT INTO notes (id) VALUES (3)")
                _ = try? tx.execute("INSERT INTO notes (id) VALUES (1)")
            }
        }
        #expect(try await db.read { tx in try tx.all("SELECT id FROM notes").count } == 2)
    }

    @Test func `what is written alone is written one after the other, over nodes`() async throws {
        let nodes = try await Engine.postgres.openNodes(2, [Migration(1, "notes", Self.notes)])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<10 {
                group.addTask {
                    try await nodes[number % 2].writeAlone { tx in
                        // A snapshot from before the lock would not see the one before, and count the same.
                        let count: Int = try tx.one("SELECT count(*) AS count FROM notes")?.get("count") ?? -1
                        try tx.execute("INSERT INTO notes (id, text) VALUES (\(count), \(String(number)))")
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await nodes[0].read { tx in try tx.all("SELECT id FROM notes").count } == 10)
    }

    // Lost connections

    private func end(_ pid: Int) async throws {
        try await PostgresHome.maintain("SELECT pg_terminate_backend(\(pid))")
    }

    private static let ownPid: SQL = "SELECT pg_backend_pid() AS pid"

    @Test func `a transaction whose connection ends before its commit is run again`() async throws {
        let db = try await open()
        let (runs, meeting, pids) = (Count(), Meeting(), Pids())
        let written = Task {
            try await db.write { tx in
                pids.add(try tx.one(Self.ownPid)?.get("pid") ?? 0)
                if runs.next() == 1 { #expect(meeting.arriveAndWait()) }
                try tx.execute("UPDATE notes SET text = text || 'x' WHERE id = 1")
            }
        }
        await meeting.arrival()
        try await end(pids.all[0])
        meeting.letGo()
        try await written.value
        #expect(runs.value == 2)
        #expect(Set(pids.all).count == 2)
        #expect(try await text(db, 1) == "x")
    }

    /// It might have been stored: to do it twice is worse than to say so.
    @Test func `a transaction whose connection ends at its commit is not run again`() async throws {
        let db = try await open()
        let (runs, meeting, pids) = (Count(), Meeting(), Pids())
        let written = Task {
            try await db.write { tx in
                try tx.execute("UPDATE notes SET text = 'x' WHERE id = 1")
                pids.add(try tx.one(Self.ownPid)?.get("pid") ?? 0)
                if runs.next() == 1 { #expect(meeting.arriveAndWait()) }
            }
        }
        await meeting.arrival()
        try await end(pids.all[0])
        meeting.letGo()
        await #expect(throws: DatabaseError.self) { try await written.value }
        #expect(runs.value == 1)
        #expect(try await text(db, 1) == "")
    }

    /// A statement that takes too long is no reason to run it again.
    @Test func `a statement that the server cancels is refused at once`() async throws {
        let db = try await open()
        let (runs, ends, meeting, pids) = (Count(), Count(), Meeting(), Pids())
        let sleeping = Task {
            defer { _ = ends.next() }
            try await db.write { tx in
                pids.add(try tx.one(Self.ownPid)?.get("pid") ?? 0)
                if runs.next() == 1 { #expect(meeting.arriveAndWait()) }
                _ = try tx.one("SELECT count(pg_sleep(600)) AS count")
            }
        }
        await meeting.arrival()
        meeting.letGo()
        // Before the statement has begun there is nothing to cancel.
        #expect(
            try await eventually(every: 20) {
                try await PostgresHome.maintain("SELECT pg_cancel_backend(\(pids.all[0]))")
                return ends.value > 0
            }
        )
        await #expect(throws: DatabaseError.self) { try await sleeping.value }
        #expect(runs.value == 1)
        #expect(try await text(db, 1) == "")
    }

    // Statements

    @Test func `a text with a NUL is refused, not cut`() async throws {
        let db = try await open()
        await #expect(throws: DatabaseError.failed("22021: a value has the wrong form")) {
            try await db.run("UPDATE notes SET text = \("a\u{0}b") WHERE id = 1")
        }
        #expect(try await text(db, 1) == "")
    }

    @Test func `no value stands in an error`() async throws {
        let db = try await open()
        let secret = "hunter2-hunter2"
        let statements: [SQL] = [
            "SELECT CAST(\(secret) AS INTEGER) AS number", "INSERT INTO notes (id, text) VALUES (1, \(secret))",
            "INSERT INTO notes (id, text) VALUES (NULL, \(secret))", "SELECT \(secret) FROM nowhere",
        ]
        for statement in statements {
            do {
                try await db.run(statement)
                Issue.record("it ran")
            } catch {
                #expect(!"\(error)".contains("hunter2"))
            }
        }
    }

    @Test func `more statements than are kept prepared all run, on one connection`() async throws {
        let db = try await Engine.postgresSingle.open(with: Self.notes)
        for number in 0..<(PostgresConnection.preparedMax + 20) {
            let condition = SQL.join(Array(repeating: "id = \(number)", count: number % 300 + 1), by: " OR ")
            let suffix: SQL = number < 300 ? "" : " AND TRUE"
            let found = try await db.read { tx in
                try tx.one("SELECT count(*) AS count FROM notes WHERE (" + condition + ")" + suffix)?
                    .get("count", as: Int.self)
            }
            #expect(found == 0)
        }
    }

    /// Of a statement that fails when it is first prepared, nothing is remembered.
    @Test func `a statement that failed runs once it can`() async throws {
        let db = try await Engine.postgresSingle.open()
        let query: SQL = "SELECT id FROM later WHERE id = \(1)"
        for _ in 0..<2 { await #expect(throws: DatabaseError.self) { try await db.run(query) } }
        try await db.write { tx in try tx.define("CREATE TABLE later (id BIGINT)") }
        #expect(try await db.read { tx in try tx.all(query).count } == 0)
    }

    /// A newer node adds a column while this one runs.
    @Test func `a prepared statement survives a change of its table`() async throws {
        let db = try await Engine.postgresSingle.open(with: Self.notes)
        let query: SQL = "SELECT * FROM notes WHERE id = \(1)"
        try await db.run("INSERT INTO notes (id, text) VALUES (1, 'x')")
        for column in ["one", "two"] {
            #expect(try await db.read { tx in try tx.one(query)?.get("text") } == "x")
            try await db.write { tx in try tx.define("ALTER TABLE notes ADD COLUMN \(column) TEXT") }
            #expect(try await db.read { tx in try tx.one(query)?.get(column) as String? } == nil)
            try await db.write { tx in _ = try tx.one(query) }
        }
    }

    // Limits

    @Test func `a pool that is full, or keeps one waiting for too long, refuses`() async throws {
        let home = try await PostgresHome.make()
        defer { home.drop() }
        let limits = PostgresLimits(connections: 1, waitMilliseconds: 200, waitingMax: 2)
        let db = try await PostgresDatabase.open(home.url, limits)
        defer { db.close() }
        let meeting = Meeting()
        async let holding = db.read { _ in meeting.arriveAndWait() }
        await meeting.arrival()
        let outcomes = await withTaskGroup(of: String.self) { group in
            for _ in 0..<5 {
                group.addTask {
                    do {
                        return try await db.read { _ in "ran" }
                    } catch {
                        return "\(error)"
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.count { $0.contains("too many wait") } == 3)
        #expect(outcomes.count { $0.contains("within 200 ms") } == 2)
        meeting.letGo()
        #expect(try await holding)
        #expect(try await db.read { _ in "ran" } == "ran")
    }

    @Test func `after it is closed nothing runs`() async throws {
        let home = try await PostgresHome.make()
        defer { home.drop() }
        let db = try await home.open()
        _ = try await db.read { tx in try tx.one("SELECT 1 AS one") }
        db.close()
        await #expect(throws: DatabaseError.unavailable("the database is closed")) { try await db.read { _ in } }
        db.close()
    }

    // The server

    @Test func `a server that is too old is refused, and what only speaks the protocol is told apart`() throws {
        #expect(throws: DatabaseError.self) { try PostgresDatabase.check(version: 110_022, isPostgres: true) }
        try PostgresDatabase.check(version: 120_000, isPostgres: true)
        try PostgresDatabase.check(version: 110_002, isPostgres: false)
        #expect(PostgresConnection.isPostgres(version: "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64"))
        #expect(!PostgresConnection.isPostgres(version: "PostgreSQL 11.2-YB-2.20.1.3-b0 on x86_64-pc-linux-gnu"))
        #expect(!PostgresConnection.isPostgres(version: "CockroachDB CCL v24.1.1 (x86_64-pc-linux-gnu)"))
    }

    @Test(arguments: [
        ("postgres://u:p@h:5432/d?sslmode=verify-full", true), ("postgresql:///d?host=/run/postgresql", true),
        ("postgres://h1,h2/d?target_session_attrs=read-write", true), ("http://h/d", false), ("host=h dbname=d", false),
        ("postgres://h/d?nonsense=1", false), ("postgres://u:a@b@h/d", false), ("postgres://u:a/b@h/d", false),
        ("postgres://[::1/d", false), ("", false),
    ])
    func `a URL is what libpq can read`(_ url: String, _ isGood: Bool) {
        #expect((PostgresDatabase.problem(with: url) == nil) == isGood)
    }
}

/// The server's processes that served a closure, in order.
private final class Pids: Sendable {
    private let pids = Mutex<[Int]>([])

    var all: [Int] { pids.withLock { $0 } }

    func add(_ pid: Int) { pids.withLock { $0.append(pid) } }
}
