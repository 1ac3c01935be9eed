import HTTPTypes
import Storage
import StorageTesting
import Synchronization
import Testing

@testable import Auth

/// What load balancers are told, and that they are told in time.
struct ReadinessTests {
    @Test(arguments: Engine.available)
    func `readiness says that writes fail, and is good again when they don't`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try #require(try await eventually { try await server.get("/api/ready").status == 200 })
        // Every write fails from now on.
        let failing = Task {
            while !Task.isCancelled {
                server.faults.failWrite(1)
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
        try #require(try await eventually { try await server.get("/api/ready").status == 503 })
        let refused = try await server.get("/api/ready")
        #expect(refused.code == "unavailable" && refused.details?["check"] == "writes")
        #expect(refused.headers[.retryAfter] != nil)
        #expect(try await server.get("/api/health").status == 200)
        failing.cancel()
        await failing.value
        server.faults.failWrite(nil)
        #expect(try await eventually { try await server.get("/api/ready").status == 200 })
    }

    @Test(arguments: Engine.available)
    func `a hundred probes at once write once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let readiness = Readiness(patience: .seconds(60))
        // The first heartbeat takes three statements, a second one would be the fourth.
        server.faults.failWrite(4)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 1...100 { group.addTask { await readiness.failure(server.services) == nil } }
            for await isReady in group { #expect(isReady) }
        }
        #expect(!server.faults.failWrite(nil))
        #expect(try await server.count("SELECT count(*) AS count FROM heartbeats") == 1)
    }

    @Test func `a question that hangs is asked once, and nobody waits for it longer than told`() async throws {
        let asked = Mutex(0)
        let (stream, hold) = AsyncStream<Void>.makeStream()
        let answers = SharedAnswer<Int>(patience: .milliseconds(50), isJoined: true)
        let ask: @Sendable () async -> Int = {
            asked.withLock { $0 += 1 }
            for await _ in stream { break }
            return 7
        }
        let first = await withTaskGroup(of: Int?.self) { group in
            for _ in 1...10 { group.addTask { await answers.value(ask) } }
            return await group.reduce(into: [Int?]()) { $0.append($1) }
        }
        #expect(first == Array(repeating: nil, count: 10))
        #expect(await answers.value(ask) == nil)
        #expect(asked.withLock { $0 } == 1)
        hold.finish()
        #expect(try await eventually { await answers.value { 8 } == 8 })
    }

    @Test func `a question that is answered in time gives its answer to all who ask`() async throws {
        let answers = SharedAnswer<Int>(patience: .seconds(60), isJoined: true)
        let all = await withTaskGroup(of: Int?.self) { group in
            for _ in 1...10 { group.addTask { await answers.value { 7 } } }
            return await group.reduce(into: [Int?]()) { $0.append($1) }
        }
        #expect(all == Array(repeating: 7, count: 10))
    }
}
