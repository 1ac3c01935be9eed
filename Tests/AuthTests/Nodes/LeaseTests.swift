import Storage
import StorageTesting
import Testing

@testable import Auth

/// One node at a time does the background work.
@Suite struct LeaseTests {
    private func leases(_ engine: Engine) async throws -> (nodes: [TestServer], leases: [Lease]) {
        let nodes = try await TestServer.nodes(engine)
        return (nodes, nodes.map { Lease("work", $0.services) })
    }

    @Test(arguments: Engine.available)
    func `one node has it, as long as it renews it`(_ engine: Engine) async throws {
        let (nodes, leases) = try await leases(engine)
        for _ in 0..<20 {
            for lease in leases { try await lease.beat() }
            #expect(leases.map(\.isHeld) == [true, false])
            nodes[0].clock.advance(seconds: Lease.beatSeconds)
        }
    }

    @Test(arguments: Engine.available)
    func `it is taken over when its holder falls silent, and not before`(_ engine: Engine) async throws {
        let (nodes, leases) = try await leases(engine)
        for lease in leases { try await lease.beat() }
        nodes[0].clock.advance(seconds: Int(Lease.lostSeconds) - 1)
        try await leases[1].beat()
        #expect(leases.map(\.isHeld) == [false, false])
        nodes[0].clock.advance(seconds: 1)
        try await leases[1].beat()
        #expect(leases.map(\.isHeld) == [false, true])
        // The one that was away finds it taken.
        try await leases[0].beat()
        #expect(leases.map(\.isHeld) == [false, true])
    }

    @Test(arguments: Engine.available)
    func `a process that is alone takes over at once from one that died`(_ engine: Engine) async throws {
        let (_, leases) = try await leases(engine)
        for lease in leases { try await lease.beat() }
        #expect(leases.map(\.isHeld) == [true, false])
        leases[1].beAlone()
        try await leases[1].beat()
        #expect(leases[1].isHeld)
    }

    @Test(arguments: Engine.available)
    func `one that is given back is free at once`(_ engine: Engine) async throws {
        let (_, leases) = try await leases(engine)
        for lease in leases { try await lease.beat() }
        try await leases[0].giveBack()
        #expect(!leases[0].isHeld)
        try await leases[1].beat()
        #expect(leases[1].isHeld)
        // Giving back what one doesn't have changes nothing.
        try await leases[0].giveBack()
        try await leases[1].beat()
        #expect(leases[1].isHeld)
    }

    @Test(arguments: Engine.available)
    func `a clock that is set back leaves nobody with a lease that he doesn't renew`(_ engine: Engine) async throws {
        let (nodes, leases) = try await leases(engine)
        try await leases[0].beat()
        #expect(leases[0].isHeld)
        nodes[0].clock.advance(seconds: -3600)
        #expect(!leases[0].isHeld)
        try await leases[0].beat()
        #expect(leases[0].isHeld)
    }

    @Test(arguments: Engine.available)
    func `of sixteen that want a free one at once, one gets it`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        // A node's name is its process's, so each of these is made as by another.
        let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<16 {
                group.addTask {
                    try await nodes[number % 2].services.db.write { tx in
                        try tx.takeLease("work", for: "node-\(number)", from: nil)
                    }
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(winners == 1)
    }
}
