import Storage
import StorageTesting
import Testing

@testable import Auth

/// What one account may have of each thing, and what happens at the cap.
struct AccountCapTests {
    private func live(_ server: TestServer, impersonated: Bool = false) async throws -> Int {
        try await server.count(
            """
            SELECT count(*) AS count FROM sessions s JOIN users u ON u.id = s.user_id
            WHERE u.email LIKE 'ada%' AND s.ended_at IS NULL AND (s.impersonated_by IS NOT NULL) = \(impersonated)
            """
        )
    }

    @Test(arguments: Engine.available)
    func `one more session than the cap ends the oldest, and the audit log says so`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.session.live_max": "3"])
        try await server.signUp("ada@example.org")
        var tokens: [String] = []
        for _ in 1...5 {
            tokens.append(try await server.signIn("ada@example.org"))
            server.clock.advance(seconds: 1)
        }
        for (number, token) in tokens.enumerated() {
            let reply = try await server.get("/api/auth/me", token: token)
            #expect(reply.status == (number < 2 ? 401 : 200))
            if number < 2 { #expect(reply.details?["reason"] == "revoked") }
        }
        #expect(try await live(server) == 3)
        #expect(try await server.audit().filter { $0 == "session.ended" }.count == 2)
        // Of another account nothing ends.
        _ = try await server.signedUp("bob@example.org")
        #expect(try await live(server) == 3)
    }

    @Test(arguments: Engine.available)
    func `a cap that was lowered takes effect with the next sign-in`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        for _ in 1...6 { _ = try await server.signIn("ada@example.org") }
        #expect(try await live(server) == 6)
        try await server.set(["auth.session.live_max": "2"])
        let token = try await server.signIn("ada@example.org")
        #expect(try await live(server) == 2)
        #expect(try await server.audit().filter { $0 == "sessions.ended" }.count == 1)
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
    }

    @Test(arguments: Engine.available)
    func `sixteen sign-ins at once keep to the cap`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.session.live_max": "4"])
        try await server.signUp("ada@example.org")
        let tokens = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 1...16 { group.addTask { try await server.signIn("ada@example.org") } }
            return try await group.reduce(into: [String]()) { $0.append($1) }
        }
        #expect(try await live(server) == 4)
        var good = 0
        for token in tokens where try await server.get("/api/auth/me", token: token).status == 200 { good += 1 }
        #expect(good == 4)
    }

    @Test(arguments: Engine.available)
    func `every way of signing in keeps to the cap`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["auth.session.live_max": "2", "auth.otp.enabled": "1", "auth.anonymous.enabled": "1"]
        )
        let email = "ada@example.org"
        let token = try await server.signedUp(email)
        let secret = Hex.encode(Random.system.bytes(32))
        _ = try await server.post(
            "/api/users/me/secrets",
            ["type": "device", "secret": .string(secret), "name": "phone"],
            token: token
        ).data()
        for _ in 1...3 {
            server.clock.advance(seconds: 61)
            _ = try await server.post(
                "/api/auth/users/login/device",
                ["email": .string(email), "secret": .string(secret)]
            ).data()
            #expect(try await live(server) <= 2)
            _ = try await server.post("/api/auth/users/otp/request", ["email": .string(email)])
            let code = try await server.token(to: email, .otp)
            _ = try await server.post("/api/auth/users/otp/auth", ["token": .string(code)]).data()
            #expect(try await live(server) <= 2)
            _ = try await server.signIn(email)
            #expect(try await live(server) <= 2)
        }
        // The session that a new password begins takes the place of the caller's.
        let current = try await server.signIn(email)
        let changed = try await server.post(
            "/api/auth/users/change-password",
            ["current_password": .string(TestServer.password), "password": "another horse battery"],
            token: current
        )
        #expect(changed.status == 200)
        #expect(try await live(server) == 1)
    }

    @Test(arguments: Engine.available)
    func `impersonations are capped apart from the user's own sessions`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.session.live_max": "2"])
        let admin = try await server.admin()
        let id = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        let own = try await server.signIn("ada@example.org")
        for _ in 1...4 {
            _ = try await server.post("/api/admin/impersonate/users/\(id)", [:], token: admin).data()
            server.clock.advance(seconds: 1)
        }
        #expect(try await server.get("/api/auth/me", token: own).status == 200)
        #expect(try await live(server) == 1)
        #expect(try await live(server, impersonated: true) == 2)
    }

    @Test(arguments: Engine.available)
    func `refreshes never push out the token of the sign-in`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let login = try await server.post(
            "/api/auth/users/login",
            ["email": "ada@example.org", "password": .string(TestServer.password), "token_type": "opaque"]
        ).data()
        let first = try #require(login["token"]?.text)
        var tokens: [String] = []
        for _ in 1...20 {
            let reply = try await server.post("/api/auth/refresh", token: first).data()
            tokens.append(try #require(reply["token"]?.text))
        }
        #expect(try await server.get("/api/auth/me", token: first).status == 200)
        var good = 0
        for token in tokens where try await server.get("/api/auth/me", token: token).status == 200 { good += 1 }
        #expect(good == AccessToken.countMax - 1)
        #expect(try await server.get("/api/auth/me", token: tokens.last).status == 200)
    }

    @Test(arguments: Engine.available)
    func `sixteen API keys at once fill the last places and no more`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let key = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: token).data()
        let id = key["id"]?.text ?? ""
        try await server.services.db.write { tx in
            for number in 0..<(APIKeys.countMax - 5) {
                try tx.execute(
                    """
                    INSERT INTO secrets (id, user_id, type, hash, created_at)
                    SELECT \("copy \(number)"), user_id, type, hash, created_at FROM secrets WHERE id = \(id)
                    """
                )
            }
        }
        let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
            for _ in 1...16 {
                group.addTask { try await server.post("/api/users/me/secrets", ["type": "apikey"], token: token) }
            }
            return try await group.reduce(into: [Reply]()) { $0.append($1) }
        }
        #expect(replies.filter { $0.status == 200 }.count == 4)
        for refused in replies where refused.status != 200 {
            #expect(refused.status == 409 && refused.code == "too_many_secrets")
            #expect(refused.error?.contains("Remove one first") == true)
        }
        let count = try await server.count("SELECT count(*) AS count FROM secrets WHERE type = 'apikey'")
        #expect(count == APIKeys.countMax)
        // A key that takes the place of another always finds it.
        #expect(try await server.post("/api/users/me/api_key", token: token).status == 200)
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE type = 'apikey'") == count)
        _ = try await server.services.db.write { tx in
            try tx.execute("UPDATE secrets SET is_primary = \(false)")
        }
        #expect(try await server.post("/api/users/me/api_key", token: token).code == "too_many_secrets")
    }

    @Test(arguments: Engine.available)
    func `one more device than the cap is refused`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        try await server.services.db.write { tx in
            for number in 0..<(Devices.countMax - 1) {
                try tx.execute(
                    """
                    INSERT INTO secrets (id, user_id, type, hash, created_at)
                    VALUES (\("device \(number)"), \(id), 'device', 'x', 0)
                    """
                )
            }
        }
        let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
            for _ in 1...16 {
                group.addTask {
                    let secret = Hex.encode(Random.system.bytes(32))
                    let body: JSON = ["type": "device", "secret": .string(secret), "name": "phone"]
                    return try await server.post("/api/users/me/secrets", body, token: token)
                }
            }
            return try await group.reduce(into: [Reply]()) { $0.append($1) }
        }
        #expect(replies.filter { $0.status == 200 }.count == 1)
        #expect(replies.filter { $0.code == "too_many_secrets" }.count == 15)
    }

    @Test(arguments: Engine.available)
    func `one more linked provider than the cap is refused`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let me = try await server.get("/api/auth/me", token: token).data()
        let id = try #require(UserID(rawValue: me["id"]?.text ?? ""))
        let collection = try #require(try await server.services.collections()["users"])
        let now = server.clock.now
        let actor = Actor(id: id, client: Client(address: "192.0.2.1", userAgent: nil))
        @Sendable func link(_ number: Int) async throws {
            let identity = Identity(
                id: IdentityID(at: now, random: .system),
                collectionID: collection.id,
                userID: id,
                provider: "provider\(number)",
                realm: "",
                subject: "subject",
                email: nil,
                createdAt: now,
                lastUsedAt: now
            )
            try await server.services.db.write { tx in
                try tx.link(identity, how: .connect, by: actor, server.services)
            }
        }
        for number in 1..<Identity.countMax { try await link(number) }
        let refusals = await withTaskGroup(of: Bool.self) { group in
            for number in 100..<116 {
                group.addTask {
                    do {
                        try await link(number)
                        return false
                    } catch {
                        return (error as? AuthError)?.code == .tooManySecrets
                    }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(refusals == 15)
        #expect(try await server.count("SELECT count(*) AS count FROM identities") == Identity.countMax)
    }

    @Test(arguments: Engine.available)
    func `tickets for a second factor are capped, and the newest is good`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        var ticket = JSON.null
        for _ in 1...(SingleUsePurpose.outstandingMax + 10) { ticket = try await server.ticket() }
        let count = try await server.count(
            "SELECT count(*) AS count FROM one_time_tokens WHERE purpose = 'second_factor' AND used_at IS NULL"
        )
        #expect(count == SingleUsePurpose.outstandingMax)
        let login = try await server.post(
            "/api/auth/users/login/mfa",
            server.code(of: ada.totp).with("mfa_token", ticket)
        )
        #expect(login.status == 200, "\(login.text)")
    }
}
