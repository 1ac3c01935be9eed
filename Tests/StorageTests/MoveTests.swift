import Foundation
import StorageTesting
import Synchronization
import Testing

@testable import Storage

/// Copying a database into another one, of the same engine or the other.
///
/// One after the other: each holds up to three databases.
@Suite(.serialized) struct MoveTests {
    private static let tables = Migration(
        1,
        "tables",
        """
        CREATE TABLE zebras (id TEXT NOT NULL PRIMARY KEY, is_striped {bool} NOT NULL){strict}

        CREATE TABLE apples (
            tree {int} NOT NULL,
            branch TEXT NOT NULL,
            zebra_id TEXT REFERENCES zebras (id) ON DELETE CASCADE,
            bytes {blob},
            note TEXT,
            PRIMARY KEY (tree, branch)
        ){strict}

        CREATE TABLE events (number {sequence}, "order" TEXT NOT NULL){strict}
        """
    )
    private static let pairs = Engine.available.flatMap { from in Engine.available.map { (from, $0) } }

    private func filled(_ engine: Engine, apples: Int = 1203) async throws -> any Database {
        let db = try await engine.open([Self.tables])
        try await db.write { tx in
            for id in ["ada", "Ada", "äda", "eve", "日本", "x'; --\u{1}"] {
                try tx.execute("INSERT INTO zebras (id, is_striped) VALUES (\(id), \(id.count % 2 == 0))")
            }
            let nothing: String? = nil
            for number in 0..<apples {
                try tx.execute(
                    """
                    INSERT INTO apples (tree, branch, zebra_id, bytes, note)
                    VALUES (\(number / 7 - 20), \("b\(number % 7)"), \(number % 3 == 0 ? "Ada" : nothing),
                        \([UInt8(number % 256), 0, 255]), \(number % 5 == 0 ? nothing : "note \(number)"))
                    """
                )
            }
            for number in 0..<5 { try tx.execute("INSERT INTO events (\"order\") VALUES (\("event \(number)"))") }
            try tx.execute("DELETE FROM events WHERE number < 3")
        }
        return db
    }

    private func move(_ from: any Database, _ to: any Database) async throws -> [Move.Copied] {
        try await Move(from: from, to: to).run { _ in }
    }

    @Test(arguments: pairs)
    func `everything arrives, and there and back is the same`(_ engines: (Engine, Engine)) async throws {
        let (first, second) = (try await filled(engines.0), try await engines.1.open([Self.tables]))
        let third = try await engines.0.open([Self.tables])
        let there = try await move(first, second)
        let back = try await move(second, third)
        #expect(there.map(\.table).sorted() == ["apples", "events", "zebras"])
        #expect(there.first { $0.table == "apples" }?.rows == 1203)
        #expect(there.sorted { $0.table < $1.table } == back.sorted { $0.table < $1.table })
        for db in [second, third] {
            let row = try await db.read { tx in
                try tx.one("SELECT * FROM apples WHERE tree = -20 AND branch = 'b3'")
            }
            #expect(try row?.get("zebra_id") == "Ada")
            #expect(try row?.get("bytes") == [UInt8(3), 0, 255])
            #expect(try row?.get("note") == "note 3")
            let flags = try await db.read { tx in try tx.all("SELECT id FROM zebras WHERE is_striped ORDER BY id") }
            #expect(try Set(flags.map { try $0.get("id", as: String.self) }) == ["日本"])
        }
    }

    /// Or the audit log's next row would be refused.
    @Test(arguments: pairs)
    func `a counter goes on behind the last number`(_ engines: (Engine, Engine)) async throws {
        let (first, second) = (try await filled(engines.0), try await engines.1.open([Self.tables]))
        _ = try await move(first, second)
        try await second.run("INSERT INTO events (\"order\") VALUES ('next')")
        let numbers = try await second.read { tx in
            try tx.all("SELECT number FROM events ORDER BY number").map { try $0.get("number", as: Int.self) }
        }
        #expect(numbers == [3, 4, 5, 6])
    }

    @Test(arguments: pairs)
    func `a target that holds something is refused and left alone`(_ engines: (Engine, Engine)) async throws {
        let (first, second) = (try await filled(engines.0), try await engines.1.open([Self.tables]))
        try await second.run("INSERT INTO zebras (id, is_striped) VALUES ('old', TRUE)")
        await #expect(throws: DatabaseError.self) { _ = try await move(first, second) }
        let ids = try await second.read { tx in try tx.all("SELECT id FROM zebras").map { try $0.get("id") as String } }
        #expect(ids == ["old"])
    }

    @Test(arguments: pairs)
    func `a refusal at the end leaves the target empty`(_ engines: (Engine, Engine)) async throws {
        struct Refusal: Error {}
        let (first, second) = (try await filled(engines.0), try await engines.1.open([Self.tables]))
        await #expect(throws: Refusal.self) {
            _ = try await Move(from: first, to: second).run(reporting: { _ in }, confirming: { throw Refusal() })
        }
        for table in ["SELECT * FROM zebras", "SELECT * FROM apples", "SELECT * FROM events"] as [SQL] {
            #expect(try await second.read { tx in try tx.all(table).count } == 0)
        }
        #expect(try await move(first, second).count == 3)
    }

    @Test(arguments: Engine.available)
    func `a target with other tables is refused`(_ engine: Engine) async throws {
        let first = try await filled(engine, apples: 3)
        let second = try await engine.open(with: "CREATE TABLE zebras (id TEXT NOT NULL PRIMARY KEY){strict}")
        await #expect(throws: DatabaseError.self) { _ = try await move(first, second) }
    }

    @Test(arguments: Engine.available)
    func `progress counts every row twice and ends at the total`(_ engine: Engine) async throws {
        let (first, second) = (try await filled(engine), try await engine.open([Self.tables]))
        let seen = Mutex<[Move.Progress]>([])
        _ = try await Move(from: first, to: second).run { progress in seen.withLock { $0.append(progress) } }
        let all = seen.withLock { $0 }
        for step in [Move.Progress.Step.copying, .comparing] {
            let steps = all.filter { $0.step == step }
            #expect(steps.map(\.done) == steps.map(\.done).sorted())
            #expect(steps.last?.done == 1203 + 6 + 3)
            #expect(steps.allSatisfy { $0.total == 1203 + 6 + 3 })
        }
    }

    @Test func `the digest tells every change of a value, its type and its column, and no order`() {
        let columns = ["a", "b"].map { Table.Column(name: $0, type: "", isBoolean: false, isIdentity: false) }
        let table = Table(name: "t", columns: columns, key: ["a"], references: [])
        func digest(_ rows: [[Value]]) -> String {
            var digest = RowsDigest()
            for row in rows { digest.add(row, of: table) }
            return digest.text
        }
        let rows: [[Value]] = [[.text("1"), .null], [.integer(1), .blob([1])], [.text(""), .bool(true)]]
        #expect(digest(rows) == digest(rows.reversed()))
        #expect(digest([[.bool(true), .null]]) == digest([[.integer(1), .null]]))
        let others: [[[Value]]] = [
            [], [rows[0], rows[1]], rows + [rows[0]], [rows[0], rows[0], rows[2]],
            [[.null, .text("1")], rows[1], rows[2]], [[.text("1"), .text("")], rows[1], rows[2]],
            [[.integer(1), .null], rows[1], rows[2]], [rows[0], [.integer(1), .text("\u{1}")], rows[2]],
        ]
        #expect(Set(others.map(digest) + [digest(rows)]).count == others.count + 1)
    }
}
