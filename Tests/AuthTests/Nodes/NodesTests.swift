import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What one node does, the others know: two whole servers on one database.
@Suite struct NodesTests {
    private func status(_ server: TestServer, _ token: String) async throws -> Int {
        try await server.get("/api/auth/me", token: token).status
    }

    @Test(arguments: Engine.available)
    func `a session that begins on one node is good on the other, and ends there too`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        #expect(try await status(nodes[1], token) == 200)
        #expect(try await status(nodes[0], token) == 200)
        #expect(try await nodes[1].post("/api/auth/logout", token: token).status == 200)
        #expect(try await status(nodes[1], token) == 401)
        #expect(try await eventually { try await status(nodes[0], token) == 401 })
        let reply = try await nodes[0].get("/api/auth/me", token: token)
        #expect(reply.code == "session_ended")
        #expect(reply.details?["reason"] == "logout")
    }

    /// Extensions are not told, so a node must look before it takes a session for expired.
    @Test(arguments: Engine.available)
    func `a session that is refreshed on one node does not expire on the other`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine, settings: ["auth.user.window_seconds": "60"])
        var token = try await nodes[0].signedUp("ada@example.org")
        for _ in 0..<5 {
            #expect(try await status(nodes[1], token) == 200)
            nodes[0].clock.advance(seconds: 40)
            token = try await nodes[0].post("/api/auth/refresh", token: token).data()["token"]?.text ?? ""
            nodes[0].clock.advance(seconds: 19)
        }
        #expect(try await status(nodes[1], token) == 200)
        nodes[0].clock.advance(seconds: 60)
        for node in nodes { #expect(try await node.get("/api/auth/me", token: token).code == "session_ended") }
    }

    @Test(arguments: Engine.available)
    func `refreshes of one session on two nodes at once all succeed`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        nodes[0].clock.advance(seconds: 5)
        let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
            for number in 0..<16 {
                group.addTask { try await nodes[number % 2].post("/api/auth/refresh", token: token) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(replies.allSatisfy { $0.status == 200 })
    }

    /// They share pages of indexes, and must not look like conflicts to each other for that.
    @Test(arguments: Engine.available)
    func `refreshes of many sessions at once all succeed`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        try await nodes[0].signUp("ada@example.org")
        var tokens: [String] = []
        for _ in 0..<40 { tokens.append(try await nodes[0].signIn("ada@example.org")) }
        for _ in 0..<6 {
            nodes[0].clock.advance(seconds: 2)
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for (number, token) in tokens.enumerated() {
                    group.addTask { try await nodes[number % 2].post("/api/auth/refresh", token: token).status }
                }
                return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
            }
            #expect(statuses == [200: 40])
        }
    }

    @Test(arguments: Engine.available)
    func `a suspended account is out on every node`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        let id = try await nodes[0].get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let admin = try await nodes[1].admin()
        let path = "/api/admin/users/users/\(id)"
        #expect(try await nodes[1].send(.patch, path, ["status": "suspended"], token: admin).status == 200)
        #expect(try await eventually { try await status(nodes[0], token) == 401 })
    }

    @Test(arguments: Engine.available)
    func `a setting, and a collection, changed on one node hold on the other`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let admin = try await nodes[0].admin()
        let token = try await nodes[1].signedUp("ada@example.org")
        try await nodes[0].set(["auth.file.window_seconds": "60"])
        #expect(
            try await eventually {
                let reply = try await nodes[1].post("/api/auth/file-token", ["resource": "x"], token: token)
                let end = try reply.data()["expires_at"]?.text.flatMap(Timestamp.init(parsing:))
                return end?.seconds(since: nodes[1].clock.now) == 60
            }
        )
        #expect(
            try await nodes[0].post("/api/collections", ["name": "staff", "type": "auth"], token: admin).status == 200
        )
        let account: JSON = ["email": "eve@example.org", "password": "secret123"]
        #expect(try await eventually { try await nodes[1].post("/api/auth/staff/register", account).status == 200 })
    }

    @Test(arguments: Engine.available)
    func `failures on one node lock the account on all`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine, settings: ["auth.lockout.max_attempts": "4"])
        try await nodes[0].signUp("ada@example.org")
        let wrong: JSON = ["email": "ada@example.org", "password": "wrong"]
        for attempt in 0..<4 {
            #expect(try await nodes[attempt % 2].post("/api/auth/users/login", wrong).status == 401)
        }
        let right: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        for node in nodes { #expect(try await node.post("/api/auth/users/login", right).code == "locked_out") }
    }

    @Test(arguments: Engine.available.filter { $0 != .sqlite })
    func `what one node admits counts on the other`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(
            engine,
            settings: [
                "rate_limit.enabled": "1", "rate_limit.rules": "auth=40/300 *=1000/10",
                "auth.lockout.max_attempts": "0",
            ]
        )
        let body: JSON = ["email": "nobody@example.org", "password": "wrong"]
        func attempt(_ node: TestServer, from address: String) async throws -> Int {
            try await node.send(.post, "/api/auth/users/login", body, from: address).status
        }
        for _ in 0..<40 { #expect(try await attempt(nodes[0], from: "192.0.2.1") == 401) }
        #expect(try await attempt(nodes[0], from: "192.0.2.1") == 429)
        let sharing = nodes.map { RateSharing(services: $0.services, limiter: $0.app.responder.limiter) }
        await sharing[0].exchange()
        // So few that the looks alone stay within the limit.
        #expect(
            try await eventually(within: 6, every: 200) {
                await sharing[1].exchange()
                return try await attempt(nodes[1], from: "192.0.2.1") == 429
            }
        )
        #expect(try await attempt(nodes[1], from: "192.0.2.2") == 401)
    }

    @Test(arguments: Engine.available)
    func `of sixteen redemptions of one token, spread over the nodes, one wins`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try #require(try await nodes[0].app.setUp.issueToken())
        let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
            for number in 0..<16 {
                let body: JSON = [
                    "email": .string("admin\(number)@example.org"), "password": .string(TestServer.password),
                    "setup_token": .string(token.text),
                ]
                group.addTask { try await nodes[number % 2].post("/api/admin/setup", body) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(replies.count { $0.status == 200 } == 1)
        #expect(replies.count { $0.status == 400 } == 15)
        #expect(try await nodes[0].users() == 1)
        #expect(try await nodes[1].audit().filter { $0 == "admin.set_up" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `of sixteen registrations of one email, spread over the nodes, one wins`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let body: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
            for number in 0..<16 {
                group.addTask { try await nodes[number % 2].post("/api/auth/users/register", body) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(replies.count { $0.status == 200 } == 1)
        #expect(replies.count { $0.code == "email_taken" } == 15)
        #expect(try await nodes[0].users() == 1)
    }

    /// Of two sessions, each ended by the other's password change, none survives: the two changes can't both hold.
    @Test(arguments: Engine.available)
    func `a session that begins while the password is changed elsewhere does not outlive the change`(_ engine: Engine)
        async throws
    {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        let login: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        let change: JSON = ["current_password": .string(TestServer.password), "password": "another good one"]
        let tokens = try await withThrowingTaskGroup(of: (isChange: Bool, Reply).self) { group in
            for number in 0..<12 {
                group.addTask {
                    number == 6
                        ? (true, try await nodes[1].post("/api/auth/users/change-password", change, token: token))
                        : (false, try await nodes[number % 2].post("/api/auth/users/login", login))
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let new = try #require(tokens.first { $0.isChange }?.1.data()["token"]?.text)
        for (isChange, reply) in tokens where !isChange && reply.status == 200 {
            let token = try reply.data()["token"]?.text ?? ""
            for node in nodes { #expect(try await eventually { try await status(node, token) == 401 }) }
        }
        for node in nodes { #expect(try await status(node, new) == 200) }
    }

    @Test(arguments: Engine.available.filter { $0 != .sqlite })
    func `a node that hears nothing answers nothing from memory`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        #expect(try await status(nodes[0], token) == 200)
        await nodes[0].stopWatching()
        #expect(!nodes[0].faults.hearsOthers)
        #expect(try await status(nodes[0], token) == 200)
        #expect(try await nodes[1].post("/api/auth/logout", token: token).status == 200)
        #expect(try await status(nodes[0], token) == 401)
    }
}
