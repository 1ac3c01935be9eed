import Foundation
import Storage
import StorageTesting
import Testing

/// What caches rely on: a write tells its topics once it is stored, before its caller goes on.
struct AnnouncementConformanceTests {
    private struct Refusal: Error {}

    private func open(_ engine: Engine) async throws -> any Database {
        try await engine.open(
            with: "CREATE TABLE notes (id {int} NOT NULL, CONSTRAINT notes_id PRIMARY KEY (id)){strict}"
        )
    }

    @Test(arguments: Engine.available)
    func `topics are told, in order, before the write returns`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let changes = ChangeList(of: db)
        try await db.write { tx in
            tx.announce("user:1")
            try tx.execute("INSERT INTO notes (id) VALUES (1)")
            tx.announce("session:2")
        }
        #expect(changes.all == [.topics(["user:1", "session:2"])])
    }

    /// However long that takes: whoever sees a write acknowledged finds no stale cache.
    @Test(arguments: Engine.available)
    func `a write waits until its subscribers know`(_ engine: Engine) async throws {
        let db = try await open(engine)
        db.onChange { _ in Thread.sleep(forTimeInterval: 0.1) }
        let changes = ChangeList(of: db)
        for id in 0..<3 {
            try await db.write { tx in
                tx.announce("note:\(id)")
                try tx.execute("INSERT INTO notes (id) VALUES (\(id))")
            }
            #expect(changes.topics == (0...id).map { "note:\($0)" })
        }
    }

    @Test(arguments: Engine.available)
    func `every subscriber is told`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let (first, second) = (ChangeList(of: db), ChangeList(of: db))
        try await db.write { tx in tx.announce("settings") }
        #expect(first.topics == ["settings"])
        #expect(second.topics == ["settings"])
    }

    @Test(arguments: Engine.available)
    func `nothing is told while the transaction is open`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let changes = ChangeList(of: db)
        let toldInside = try await db.write { tx in
            tx.announce("settings")
            try tx.execute("INSERT INTO notes (id) VALUES (1)")
            return changes.all.count
        }
        #expect(toldInside == 0)
        #expect(changes.topics == ["settings"])
    }

    @Test(arguments: Engine.available)
    func `a write that is rolled back tells nothing`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let changes = ChangeList(of: db)
        await #expect(throws: Refusal.self) {
            try await db.write { tx in
                tx.announce("settings")
                throw Refusal()
            }
        }
        await #expect(throws: DatabaseError.self) {
            try await db.write { tx in
                tx.announce("settings")
                try tx.execute("INSERT INTO nowhere (id) VALUES (1)")
            }
        }
        #expect(changes.all.isEmpty)
    }

    @Test(arguments: Engine.available)
    func `a write without topics, and a read, tell nothing`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let changes = ChangeList(of: db)
        try await db.run("INSERT INTO notes (id) VALUES (1)")
        _ = try await db.read { tx in try tx.all("SELECT id FROM notes") }
        #expect(changes.all.isEmpty)
    }

    @Test(arguments: Engine.available)
    func `each of many parallel callers finds its own topic told, and those of the refused are not`(_ engine: Engine)
        async throws
    {
        let db = try await open(engine)
        let changes = ChangeList(of: db)
        let wrong: [String] = await withTaskGroup(of: String?.self) { group in
            for id in 0..<100 {
                group.addTask {
                    let isStored = try? await db.write { tx in
                        tx.announce("note:\(id)")
                        try tx.execute("INSERT INTO notes (id) VALUES (\(id))")
                        if id % 4 == 0 { throw Refusal() }
                        return true
                    }
                    return changes.topics.contains("note:\(id)") == (isStored ?? false) ? nil : "note:\(id)"
                }
            }
            return await group.reduce(into: []) { wrong, topic in if let topic { wrong.append(topic) } }
        }
        #expect(wrong.isEmpty)
        #expect(changes.topics.sorted() == (0..<100).filter { $0 % 4 != 0 }.map { "note:\($0)" }.sorted())
    }
}
