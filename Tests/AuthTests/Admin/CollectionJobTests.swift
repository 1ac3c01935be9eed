import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// Work that goes through a whole collection, in small steps.
@Suite struct CollectionJobTests {
    private static let unique: JSON = ["fields": [["name": "badge", "type": "text", "unique": true]]]

    /// Puts accounts into a collection, faster than by requests; `badge` tells their field.
    private func fill(_ server: TestServer, _ name: String, count: Int, badge: (Int) -> String) async throws {
        let collection = try #require(try await server.services.collections()[name])
        let now = server.clock.now
        let users = (0..<count).map { number in
            User(
                id: UserID(at: now, random: server.services.random),
                collectionID: collection.id,
                kind: .human,
                status: .active,
                email: "user\(number)@example.org",
                username: nil,
                isEmailVerified: false,
                isAnonymous: false,
                data: ["badge": .string(badge(number))],
                createdAt: now,
                updatedAt: now
            )
        }
        try await server.services.db.write { tx in
            for user in users { try tx.insertUser(user, schema: collection.schema) }
        }
    }

    private func rows(_ server: TestServer) async throws -> [Int] {
        [
            try await server.users(), try await server.count("SELECT count(*) AS count FROM unique_values"),
            try await server.count("SELECT count(*) AS count FROM jobs"),
            try await server.count("SELECT count(*) AS count FROM collections"),
        ]
    }

    @Test(arguments: Engine.available)
    func `a collection that is removed is gone at once, and its accounts go in steps that survive a crash`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        _ = try await server.post("/api/collections", ["name": "clients"], token: admin).data()
        let body: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        _ = try await server.post("/api/auth/clients/register", body).data()
        let token = try await server.post("/api/auth/clients/login", body).data()["token"]?.text
        try await fill(server, "clients", count: 30) { "\($0)" }
        #expect(try await server.send(.delete, "/api/collections/clients", token: admin).data() == ["deleted": true])
        #expect(try await rows(server) == [32, 0, 1, 3])
        // Nothing of it is done yet, and it is gone for everybody.
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "deleted"])
        #expect(try await server.post("/api/auth/clients/login", body).code == "not_found")
        #expect(try await server.post("/api/auth/clients/register", body).code == "not_found")
        #expect(try await server.get("/api/collections/clients", token: admin).code == "not_found")
        #expect(try await server.send(.delete, "/api/collections/clients", token: admin).code == "not_found")
        #expect(try await server.get("/api/collections", token: admin).json["totalItems"] == 2)
        // Its name is free.
        _ = try await server.post("/api/collections", ["name": "clients"], token: admin).data()
        _ = try await server.post("/api/auth/clients/register", body).data()
        // A step that fails is taken back as a whole, and the next try goes on.
        for statement in [1, 5, 30] {
            server.faults.failWrite(statement)
            await #expect(throws: FaultyDatabase.Fault.self) { try await server.app.jobs.work() }
            server.faults.failWrite(nil)
            let left = try await rows(server)
            #expect(left[2...] == [1, 4])
            #expect(left[0] > 2)
        }
        try await server.app.jobs.work()
        #expect(try await rows(server) == [2, 0, 0, 3])
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "deleted"])
        #expect(try await server.audit().filter { $0 == "collection.deleted" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `a field of many records becomes unique, and takes no value twice from the start`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await fill(server, "users", count: 100) { "\($0)" }
        let changed = try await server.send(.patch, "/api/collections/users", Self.unique, token: admin).data()
        #expect(changed["state"] == "ready")
        #expect(try await rows(server) == [101, 100, 0, 2])
        let taken: JSON = ["email": "eve@example.org", "password": .string(TestServer.password), "badge": "42"]
        #expect(try await server.post("/api/auth/users/register", taken).details?["badge"] != nil)
        // A field that is not unique any more forgets its values.
        let plain: JSON = ["fields": [["name": "badge", "type": "text"]]]
        _ = try await server.send(.patch, "/api/collections/users", plain, token: admin).data()
        #expect(try await rows(server) == [101, 0, 0, 2])
        #expect(try await server.post("/api/auth/users/register", taken).status == 200)
        let again = try await server.send(.patch, "/api/collections/users", Self.unique, token: admin)
        #expect((again.status, again.code) == (409, "value_taken"))
        #expect(again.details == ["badge": "is already taken"])
        #expect(try await rows(server) == [102, 0, 0, 2])
        let audit = try await server.audit().filter { $0.hasPrefix("collection.update") }
        #expect(audit.suffix(2) == ["collection.updated", "collection.update_reverted"])
    }

    @Test(arguments: Engine.available)
    func `a change that was cut off is finished or taken back by the server`(_ engine: Engine) async throws {
        for isDouble in [false, true] {
            let server = try await TestServer(engine)
            let admin = try await server.admin()
            let before = try await server.get("/api/collections/users", token: admin).data()
            try await fill(server, "users", count: 60) { isDouble && $0 == 59 ? "0" : "\($0)" }
            // The process dies in the middle: the change itself is committed, a later step is not.
            server.faults.failWrite(isDouble ? 10 : 30)
            let change = Self.unique.with("name", "people")
            #expect(try await server.send(.patch, "/api/collections/users", change, token: admin).status == 500)
            server.faults.failWrite(nil)
            let building = try await server.get("/api/collections/people", token: admin).data()
            #expect(building["state"] == "building")
            let taken: JSON = ["email": "eve@example.org", "password": .string(TestServer.password), "badge": "7"]
            let other = taken.with("email", "bob@example.org").with("badge", "new")
            #expect(try await server.post("/api/auth/people/register", other).status == 200)
            let twice = taken.with("badge", "new")
            #expect(try await server.post("/api/auth/people/register", twice).code == "value_taken")
            let busy = try await server.send(.patch, "/api/collections/people", ["name": "x"], token: admin)
            #expect((busy.status, busy.code) == (503, "unavailable"))
            // The request had it for itself; now the server goes on.
            try await server.app.jobs.work()
            #expect(try await rows(server)[2] == 1)
            server.clock.advance(seconds: Job.requestSeconds + 1)
            try await server.app.jobs.work()
            #expect(try await rows(server)[2] == 0)
            if isDouble {
                let after = try await server.get("/api/collections/users", token: admin).data()
                #expect(after["fields"] == before["fields"] && after["state"] == "ready")
                #expect(try await rows(server)[1] == 0)
                #expect(try await server.audit().last == "collection.update_reverted")
            } else {
                let after = try await server.get("/api/collections/people", token: admin).data()
                #expect(after["state"] == "ready")
                #expect(try await rows(server)[1] == 61)
                #expect(try await server.post("/api/auth/people/register", taken).code == "value_taken")
            }
        }
    }

    @Test(arguments: Engine.available)
    func `one row ends all sessions, on every node, and new ones live`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let old = try await nodes[0].signedUp("ada@example.org")
        #expect(try await nodes[1].get("/api/auth/me", token: old).status == 200)
        let now = nodes[0].clock.now
        try await nodes[0].services.db.write { tx in try tx.endAllSessions(because: .secretRotated, at: now) }
        for node in nodes {
            let isOver = try await eventually(within: 20, every: 5) {
                try await node.get("/api/auth/me", token: old).details == ["reason": "secret_rotated"]
            }
            #expect(isOver)
        }
        let new = try await nodes[1].signIn("ada@example.org")
        #expect(try await nodes[0].get("/api/auth/me", token: new).status == 200)
        let listed = try await nodes[0].get("/api/auth/sessions", token: new).json["data"]
        if case .array(let sessions)? = listed { #expect(sessions.count == 1) } else { Issue.record("no list") }
        #expect(try await nodes[0].post("/api/auth/refresh", [:], token: old).code == "session_ended")
        try await nodes[0].services.db.write { tx in try tx.endAllSessions(because: .secretRotated, at: now) }
        let isOver = try await eventually(within: 20, every: 5) {
            try await nodes[0].get("/api/auth/me", token: new).status == 401
        }
        #expect(isOver)
    }
}
