import Storage
import StorageTesting
import Testing

/// Lists and searches: what they do to each other, to sign-in, and to themselves when they take too long.
struct SearchConformanceTests {
    private static let numbers = "CREATE TABLE numbers (number {int} NOT NULL PRIMARY KEY){strict}"
    /// Counts for hours.
    private static let endless: SQL =
        "WITH RECURSIVE steps(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < 100000000000) SELECT count(*) AS count FROM steps"

    @Test(arguments: Engine.available)
    func `a search reads what was written before it`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.numbers)
        for number in 1...3 {
            try await db.run("INSERT INTO numbers (number) VALUES (\(number))")
            let count = try await db.search { tx in try tx.one("SELECT count(*) AS count FROM numbers") }
            #expect(try count?.get("count") == number)
        }
    }

    @Test(arguments: Engine.available)
    func `a search can't write`(_ engine: Engine) async throws {
        let db = try await engine.open(with: Self.numbers)
        await #expect(throws: DatabaseError.self) {
            try await db.search { tx in try tx.execute("INSERT INTO numbers (number) VALUES (1)") }
        }
        let count = try await db.read { tx in try tx.one("SELECT count(*) AS count FROM numbers") }
        #expect(try count?.get("count") == 0)
    }

    @Test(arguments: Engine.available)
    func `a search whose task is cancelled ends, and its connection goes on`(_ engine: Engine) async throws {
        let db = try await engine.open(searches: SearchLimits(seconds: 600))
        for _ in 1...3 {
            let started = Meeting()
            let search = Task {
                try await db.search { tx in
                    _ = try tx.one("SELECT 1 AS one")
                    _ = started.arriveAndWait()
                    _ = try tx.one(Self.endless)
                }
            }
            await started.arrival()
            search.cancel()
            started.letGo()
            await #expect(throws: CancellationError.self) { try await search.value }
        }
        let one = try await db.search { tx in try tx.one("SELECT 1 AS one") }
        #expect(try one?.get("one") == 1)
    }

    @Test(arguments: Engine.available)
    func `a statement that is running already ends when its task is cancelled`(_ engine: Engine) async throws {
        let db = try await engine.open(searches: SearchLimits(seconds: 600))
        let started = Meeting()
        let search = Task {
            try await db.search { tx in
                _ = started.arriveAndWait()
                _ = try tx.one(Self.endless)
            }
        }
        await started.arrival()
        started.letGo()
        // Whether or not the statement has begun by then, it must end.
        try await Task.sleep(for: .milliseconds(50))
        search.cancel()
        await #expect(throws: CancellationError.self) { try await search.value }
    }

    @Test(arguments: Engine.available)
    func `a search ends when its time is over, waiting included`(_ engine: Engine) async throws {
        let db = try await engine.open(searches: SearchLimits(seconds: 0.3))
        await withTaskGroup(of: Bool.self) { group in
            for _ in 1...4 {
                group.addTask {
                    do {
                        try await db.search { tx in _ = try tx.one(Self.endless) }
                        return false
                    } catch {
                        return error as? DatabaseError == .tooSlow(seconds: 0.3)
                    }
                }
            }
            for await isTooSlow in group { #expect(isTooSlow) }
        }
    }

    @Test(arguments: Engine.concurrent)
    func `reads and writes go on while every search is slow, and more searches are refused at once`(_ engine: Engine)
        async throws
    {
        let db = try await engine.open(searches: SearchLimits(seconds: 60, waitingCountMax: 3))
        try await db.migrate([Migration(1, "numbers", Self.numbers)], at: 0)
        let refusals = Count()
        let slow = (1...8).map { _ in
            Task {
                do {
                    try await db.search { tx in _ = try tx.one(Self.endless) }
                    return "ended"
                } catch DatabaseError.tooManySearches {
                    _ = refusals.next()
                    return "refused"
                } catch {
                    return "cancelled"
                }
            }
        }
        // Those that find no place are refused while the others still run.
        try #require(try await eventually { refusals.value >= 3 })
        for number in 1...50 {
            try await db.run("INSERT INTO numbers (number) VALUES (\(number))")
            let count = try await db.read { tx in try tx.one("SELECT count(*) AS count FROM numbers") }
            #expect(try count?.get("count") == number)
        }
        for task in slow { task.cancel() }
        var outcomes: [String] = []
        for task in slow { outcomes.append(await task.value) }
        #expect(!outcomes.contains("ended"))
        #expect(outcomes.contains("refused") && outcomes.contains("cancelled"))
        let one = try await db.search { tx in try tx.one("SELECT 1 AS one") }
        #expect(try one?.get("one") == 1)
    }

    @Test(arguments: Engine.available)
    func `searches that wait and whose callers have left take no place`(_ engine: Engine) async throws {
        let db = try await engine.open(searches: SearchLimits(seconds: 600, waitingCountMax: 2))
        let started = Count()
        func slow() -> Task<Void, any Error> {
            Task {
                try await db.search { tx in
                    _ = started.next()
                    _ = try tx.one(Self.endless)
                }
            }
        }
        let running = [slow(), slow()]
        let runningCount = engine == .sqlite ? 2 : 1
        try #require(try await eventually { started.value >= runningCount })
        for _ in 1...5 {
            let waiting = [slow(), slow(), slow()]
            for task in waiting { task.cancel() }
            if engine != .sqlite { running[1].cancel() }
        }
        let last = Task { try await db.search { tx in try tx.one("SELECT 1 AS one")?.get("one", as: Int.self) } }
        try await Task.sleep(for: .milliseconds(50))
        for task in running { task.cancel() }
        #expect(try await last.value == 1)
    }
}
