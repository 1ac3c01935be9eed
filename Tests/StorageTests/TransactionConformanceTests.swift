import Storage
import StorageTesting
import Testing

/// What every engine must do alike: transactions, parallel callers, announcements.
struct TransactionConformanceTests {
    private struct Refusal: Error, Equatable {
        let id: Int
    }

    private func open(_ engine: Engine) async throws -> any Database {
        try await engine.open(
            with: """
                CREATE TABLE notes (
                    id {int} NOT NULL,
                    taken_by {int},
                    CONSTRAINT notes_id PRIMARY KEY (id)
                ){strict}
                """
        )
    }

    private func ids(_ db: any Database) async throws -> [Int] {
        try await db.read { tx in try tx.all("SELECT id FROM notes ORDER BY id").map { try $0.get("id") } }
    }

    @Test(arguments: Engine.available)
    func `a write sees its own statements and gives back what its closure returns`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let seen = try await db.write { tx in
            try tx.execute("INSERT INTO notes (id) VALUES (1), (2)")
            return try tx.all("SELECT id FROM notes ORDER BY id").map { try $0.get("id", as: Int.self) }
        }
        #expect(seen == [1, 2])
        #expect(try await ids(db) == [1, 2])
    }

    @Test(arguments: Engine.available)
    func `nothing is stored of a write whose closure throws`(_ engine: Engine) async throws {
        let db = try await open(engine)
        await #expect(throws: Refusal(id: 1)) {
            try await db.write { tx in
                try tx.execute("INSERT INTO notes (id) VALUES (1)")
                throw Refusal(id: 1)
            }
        }
        await #expect(throws: DatabaseError.unique("notes_id")) {
            try await db.write { tx in
                try tx.execute("INSERT INTO notes (id) VALUES (2)")
                try tx.execute("INSERT INTO notes (id) VALUES (2)")
            }
        }
        #expect(try await ids(db) == [])
        try await db.run("INSERT INTO notes (id) VALUES (3)")
        #expect(try await ids(db) == [3])
    }

    @Test(arguments: Engine.available)
    func `callers that fail do not spoil those beside them`(_ engine: Engine) async throws {
        let db = try await open(engine)
        try await db.run("INSERT INTO notes (id) VALUES (1000)")
        let outcomes = await withTaskGroup(of: (Int, String).self) { group in
            for id in 0..<90 {
                group.addTask {
                    do {
                        return try await db.write { tx in
                            try tx.execute("INSERT INTO notes (id) VALUES (\(id))")
                            if id % 3 == 1 { throw Refusal(id: id) }
                            if id % 3 == 2 { try tx.execute("INSERT INTO notes (id) VALUES (\(1000))") }
                            return (id, "stored")
                        }
                    } catch let refusal as Refusal {
                        return (id, refusal.id == id ? "refused" : "someone else's refusal")
                    } catch {
                        return (id, error as? DatabaseError == .unique("notes_id") ? "unique" : "\(error)")
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        #expect(
            outcomes
                == Dictionary(uniqueKeysWithValues: (0..<90).map { ($0, ["stored", "refused", "unique"][$0 % 3]) })
        )
        #expect(try await ids(db) == stride(from: 0, to: 90, by: 3).map { $0 } + [1000])
    }

    @Test(arguments: Engine.concurrent)
    func `a read keeps its snapshot while a write commits`(_ engine: Engine) async throws {
        let db = try await open(engine)
        try await db.run("INSERT INTO notes (id) VALUES (1)")
        let meeting = Meeting()
        async let reading = db.read { tx in
            let before = try tx.one("SELECT count(*) AS count FROM notes")?.get("count", as: Int.self)
            let wasLetGo = meeting.arriveAndWait()
            let after = try tx.one("SELECT count(*) AS count FROM notes")?.get("count", as: Int.self)
            return (before: before, after: after, wasLetGo: wasLetGo)
        }
        await meeting.arrival()
        try await db.run("INSERT INTO notes (id) VALUES (2)")
        meeting.letGo()
        let counts = try await reading
        #expect(counts.wasLetGo)
        #expect(counts.before == 1)
        #expect(counts.after == 1)
        #expect(try await ids(db) == [1, 2])
    }

    @Test(arguments: Engine.concurrent)
    func `a read does not see a write before its commit`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let meeting = Meeting()
        async let writing = db.write { tx in
            try tx.execute("INSERT INTO notes (id) VALUES (1)")
            return meeting.arriveAndWait()
        }
        await meeting.arrival()
        #expect(try await ids(db) == [])
        meeting.letGo()
        #expect(try await writing)
        #expect(try await ids(db) == [1])
    }

    @Test(
        arguments: Engine.available,
        [
            "INSERT INTO notes (id) VALUES (2)", "UPDATE notes SET taken_by = 7", "DELETE FROM notes",
            "DROP TABLE notes",
            "CREATE TABLE more (id TEXT)", "DELETE FROM notes RETURNING id",
        ] as [SQL]
    )
    func `a read cannot write`(_ engine: Engine, _ statement: SQL) async throws {
        let db = try await open(engine)
        try await db.run("INSERT INTO notes (id) VALUES (1)")
        await #expect(throws: DatabaseError.self) { _ = try await db.read { tx in try tx.execute(statement) } }
        let untouched = try await db.read { tx in try tx.one("SELECT id FROM notes WHERE taken_by IS NULL") }
        #expect(try untouched?.get("id") == 1)
        try await db.run("INSERT INTO notes (id) VALUES (3)")
        #expect(try await ids(db) == [1, 3])
    }

    @Test(arguments: Engine.available)
    func `of sixteen parallel takers exactly one wins`(_ engine: Engine) async throws {
        let db = try await open(engine)
        try await db.run("INSERT INTO notes (id) SELECT 1 UNION ALL SELECT 2")
        for note in 1...2 {
            let winners: [Int] = try await withThrowingTaskGroup(of: Int?.self) { group in
                for taker in 0..<16 {
                    group.addTask {
                        try await db.write { tx in
                            try tx.one(
                                "UPDATE notes SET taken_by = \(taker) WHERE id = \(note) AND taken_by IS NULL RETURNING taken_by"
                            )?.get("taken_by")
                        }
                    }
                }
                return try await group.reduce(into: []) { winners, taker in if let taker { winners.append(taker) } }
            }
            #expect(winners.count == 1)
            let stored = try await db.read { tx in
                try tx.one("SELECT taken_by FROM notes WHERE id = \(note)")?.get("taken_by", as: Int?.self)
            }
            #expect(stored == winners.first)
        }
    }

    @Test(arguments: Engine.available)
    func `five hundred parallel writes all land`(_ engine: Engine) async throws {
        let db = try await open(engine)
        let returned = try await withThrowingTaskGroup(of: Int.self) { group in
            for id in 0..<500 {
                group.addTask {
                    try await db.write { tx in
                        try tx.execute("INSERT INTO notes (id) VALUES (\(id))")
                        return id
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(returned.sorted() == Array(0..<500))
        #expect(try await ids(db) == Array(0..<500))
    }

    @Test(arguments: Engine.available)
    func `parallel increments lose nothing`(_ engine: Engine) async throws {
        let db = try await open(engine)
        try await db.run("INSERT INTO notes (id, taken_by) VALUES (1, 0)")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await db.write { tx in
                        let count =
                            try tx.one("SELECT taken_by FROM notes WHERE id = 1")?.get("taken_by", as: Int.self)
                            ?? -1000
                        try tx.execute("UPDATE notes SET taken_by = \(count + 1) WHERE id = 1")
                    }
                }
            }
            try await group.waitForAll()
        }
        let count = try await db.read { tx in try tx.one("SELECT taken_by FROM notes")?.get("taken_by", as: Int.self) }
        #expect(count == 50)
    }
}
