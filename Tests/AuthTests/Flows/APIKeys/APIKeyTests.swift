import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct APIKeyTests {
    private static let mine = "/api/users/me/secrets"
    private static let me = "/api/auth/me"
    private static let supplied = "q8Zt3-Vb7xW1-Lp9mK4-Rc6nY2-Hd5sJ0-Gf8"

    private func ada(on server: TestServer) async throws -> (token: String, id: String) {
        let token = try await server.signedUp("ada@example.org")
        return (token, try await server.get(Self.me, token: token).data()["id"]?.text ?? "")
    }

    private func key(_ server: TestServer, by token: String, _ more: JSON = [:]) async throws -> (
        id: String, text: String
    ) {
        guard case .object(let members) = more else { return ("", "") }
        let body: JSON = ["type": "apikey"]
        let made = try await server.post(Self.mine, body.merging(members), token: token).data()
        return (made["id"]?.text ?? "", made["secret"]?.text ?? "")
    }

    /// A system user's id and key.
    private func system(_ server: TestServer) async throws -> (id: String, key: String) {
        let admin = try await server.admin()
        let body: JSON = ["kind": "system", "username": "nightly"]
        let id = try await server.post("/api/admin/users/users", body, token: admin).data()["id"]?.text ?? ""
        let key = try await server.post("/api/users/\(id)/api_key", token: admin).data()["api_key"]?.text ?? ""
        return (id, key)
    }

    @Test(arguments: Engine.available)
    func `a key is told once, acts as its user, and is Argon2id at rest`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let made = try await server.post(Self.mine, ["type": "apikey", "name": "nightly"], token: ada.token).data()
        let text = made["secret"]?.text ?? ""
        #expect(text.hasPrefix("lk_key_"))
        #expect((made["type"], made["name"], made["state"]) == ("apikey", "nightly", "active"))
        let me = try await server.get(Self.me, token: text).data()
        #expect((me["id"]?.text, me["aud"], me["exp"]) == (ada.id, "user", .null))
        #expect(me["amr"] == ["apikey"])
        let one = try await server.get(Self.mine + "/\(made["id"]?.text ?? "")", token: ada.token).data()
        #expect(one["secret"] == nil)
        let list = try await server.get(Self.mine, token: ada.token)
        #expect(!list.text.contains(text))
        let hashes: [String] = try await server.services.db.read { tx in
            try tx.all("SELECT hash FROM secrets WHERE type = 'apikey'").map { try $0.get("hash") }
        }
        #expect(hashes.count == 1 && hashes[0].hasPrefix("$argon2id$"))
        #expect(try await server.audit().contains("secret.created"))
        #expect(try await server.mail(to: "ada@example.org", .notice)["text"]?.text?.contains("an API key") == true)
    }

    @Test(arguments: Engine.available)
    func `a supplied key works, and neither it nor an easy one is taken twice`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let made = try await key(server, by: ada.token, ["secret": .string(Self.supplied)])
        #expect(made.text == Self.supplied)
        #expect(try await server.get(Self.me, token: Self.supplied).status == 200)
        let again = try await server.post(
            Self.mine,
            ["type": "apikey", "secret": .string(Self.supplied)],
            token: ada.token
        )
        #expect((again.status, again.code) == (409, "value_taken"))
        let easy = try await server.post(
            Self.mine,
            ["type": "apikey", "secret": "abcdefghijklmnopqrstuvwxyz0123456789"],
            token: ada.token
        )
        #expect(easy.status == 422 && easy.details?["secret"] != nil)
        // Removed and supplied anew, it is another key: what was remembered of the former one must not stand in its way.
        _ = try await server.send(.delete, Self.mine + "/\(made.id)", token: ada.token).data()
        #expect(try await server.get(Self.me, token: Self.supplied).status == 401)
        _ = try await key(server, by: ada.token, ["secret": .string(Self.supplied)])
        #expect(try await server.get(Self.me, token: Self.supplied).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a key that is removed, expired or of somebody suspended opens nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let end = server.clock.now.advanced(bySeconds: 60)
        let (removed, expiring, kept) = (
            try await key(server, by: ada.token), try await key(server, by: ada.token, ["expires_at": end.json]),
            try await key(server, by: ada.token)
        )
        for key in [removed, expiring, kept] { #expect(try await server.get(Self.me, token: key.text).status == 200) }
        _ = try await server.send(.delete, Self.mine + "/\(removed.id)", token: ada.token).data()
        #expect(try await server.get(Self.me, token: removed.text).code == "invalid_token")
        server.clock.advance(seconds: 60)
        #expect(try await server.get(Self.me, token: expiring.text).code == "token_expired")
        let listed = try await server.get(Self.mine + "/\(expiring.id)", token: ada.token).data()
        #expect(listed["state"] == "expired")
        let user = "/api/admin/users/users/\(ada.id)"
        let admin = try await server.admin()
        _ = try await server.send(.patch, user, ["status": "suspended"], token: admin).data()
        #expect(try await server.get(Self.me, token: kept.text).code == "invalid_token")
        _ = try await server.send(.patch, user, ["status": "active"], token: admin).data()
        #expect(try await server.get(Self.me, token: kept.text).status == 200)
        _ = try await server.send(.delete, user, token: admin).data()
        #expect(try await server.get(Self.me, token: kept.text).code == "invalid_token")
    }

    @Test(arguments: Engine.available)
    func `when it was last used is noted, at most once a minute`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let made = try await key(server, by: ada.token)
        func lastUsed() async throws -> JSON? {
            try await server.get(Self.mine + "/\(made.id)", token: ada.token).data()["last_used_at"]
        }
        #expect(try await lastUsed() == .null)
        let first = server.clock.now
        for _ in 0..<3 {
            _ = try await server.get(Self.me, token: made.text).data()
            server.clock.advance(seconds: 19)
        }
        #expect(try await lastUsed() == first.json)
        server.clock.advance(seconds: 3)
        _ = try await server.get(Self.me, token: made.text).data()
        #expect(try await lastUsed() == server.clock.now.json)
    }

    @Test(arguments: Engine.available)
    func `reassigning kills the primary key and leaves others alone`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let primary = try await key(server, by: ada.token, ["name": "main", "scopes": ["users:read"]])
        let other = try await key(server, by: ada.token)
        let reassigned = try await server.post("/api/users/me/api_key", token: ada.token).data()
        #expect((reassigned["name"], reassigned["primary"], reassigned["scopes"]) == ("main", true, ["users:read"]))
        #expect(try await server.get(Self.me, token: primary.text).status == 401)
        #expect(try await server.get(Self.me, token: other.text).status == 200)
        #expect(try await server.get(Self.me, token: reassigned["api_key"]?.text).status == 200)
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE type = 'apikey'") == 2)
        #expect(try await server.audit().filter { $0 == "api_key.reassigned" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `of reassignments at once one key remains`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let keys = try await withThrowingTaskGroup { group in
            for _ in 0..<16 {
                group.addTask {
                    try await server.post("/api/users/me/api_key", token: ada.token).data()["api_key"]?.text ?? ""
                }
            }
            return try await group.reduce(into: [String]()) { $0.append($1) }
        }
        var alive = 0
        for key in keys where try await server.get(Self.me, token: key).status == 200 { alive += 1 }
        #expect(alive == 1)
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE type = 'apikey'") == 1)
    }

    @Test(arguments: Engine.available)
    func `of keys made at once one is the primary, and all work`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let keys = try await withThrowingTaskGroup { group in
            for _ in 0..<16 { group.addTask { try await key(server, by: ada.token).text } }
            return try await group.reduce(into: [String]()) { $0.append($1) }
        }
        for key in keys { #expect(try await server.get(Self.me, token: key).status == 200) }
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE is_primary = TRUE") == 1)
    }

    @Test(arguments: Engine.available)
    func `a key can replace itself, and prolongs nothing by that`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let end = server.clock.now.advanced(bySeconds: 3600)
        let primary = try await key(server, by: ada.token, ["expires_at": end.json])
        let other = try await key(server, by: ada.token)
        server.clock.advance(seconds: 600)
        #expect(try await server.post("/api/users/me/api_key", token: other.text).code == "forbidden")
        let new = try await server.post("/api/users/me/api_key", token: primary.text).data()
        #expect(new["expires_at"] == end.json)
        let byOwner = try await server.post(
            "/api/users/me/api_key",
            token: try await server.signIn("ada@example.org")
        ).data()
        #expect(byOwner["expires_at"] == server.clock.now.advanced(bySeconds: 3000).json)
    }

    @Test(arguments: Engine.available)
    func `a system user acts by its key, on its own record alone`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let system = try await system(server)
        let me = try await server.get(Self.me, token: system.key).data()
        #expect((me["id"]?.text, me["kind"]) == (system.id, "system"))
        let record = "/api/records/users/\(system.id)"
        #expect(try await server.send(.patch, record, ["task": "mail"], token: system.key).data()["task"] == "mail")
        let forbidden = [
            "/api/records/users", "/api/records/users/\(ada.id)", "/api/admin/users/users", "/api/admin/settings",
            "/api/collections", "/api/users/\(ada.id)/secrets", "/api/admin/outbox",
        ]
        for path in forbidden {
            #expect(try await server.get(path, token: system.key).code == "forbidden", "\(path)")
        }
        for body: JSON in [
            ["username": "nightly", "password": .string(system.key)], ["identity": "nightly", "password": "x"],
        ] {
            #expect(try await server.post("/api/auth/users/login", body).code == "invalid_credentials")
        }
        let password: JSON = ["type": "password", "secret": "another good one"]
        #expect(
            try await server.post("/api/users/\(system.id)/secrets", password, token: try await server.admin()).status
                == 422
        )
        _ = try await server.send(.delete, Self.mine + "/\(try await primary(server, system.key))", token: system.key)
            .data()
        #expect(try await server.get(Self.me, token: system.key).status == 401)
    }

    private func primary(_ server: TestServer, _ token: String) async throws -> String {
        guard case .array(let list) = try await server.get(Self.mine, token: token).data() else { return "" }
        return list.first { $0["primary"] == true }?["id"]?.text ?? ""
    }

    @Test(arguments: Engine.available)
    func `a system user's key makes others that end no later, unless it is narrowed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let system = try await system(server)
        let admin = try await server.admin()
        let path = "/api/users/\(system.id)/secrets"
        let end = server.clock.now.advanced(bySeconds: 600)
        let body: JSON = ["type": "apikey", "expires_at": end.json]
        let short = try await server.post(path, body, token: admin).data()["secret"]?.text ?? ""
        let made = try await key(server, by: short, ["expires_at": end.advanced(bySeconds: 600).json])
        #expect(try await server.get(Self.mine + "/\(made.id)", token: short).data()["expires_at"] == end.json)
        let narrow: JSON = ["type": "apikey", "scopes": []]
        let narrowed = try await server.post(path, narrow, token: admin).data()["secret"]?.text
        let refused = try await server.post(Self.mine, ["type": "apikey"], token: narrowed)
        #expect((refused.status, refused.code) == (403, "session_required"))
    }

    @Test(arguments: Engine.available)
    func `an admin's key is an admin's, but not when it is narrowed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let whole = try await key(server, by: admin)
        let narrowed = try await key(server, by: admin, ["scopes": ["users:read"]])
        #expect(try await server.get("/api/admin/settings", token: whole.text).status == 200)
        #expect(try await server.get("/api/admin/settings", token: narrowed.text).code == "forbidden")
        #expect(try await server.get("/api/admin/auth/me", token: whole.text).data()["aud"] == "admin")
    }

    @Test(arguments: Engine.available)
    func `a key is no session`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let key = try await key(server, by: ada.token)
        let change: JSON = ["current_password": .string(TestServer.password), "password": "another good one"]
        let attempts: [(HTTPRequest.Method, String, JSON?)] = [
            (.post, "/api/auth/logout", nil), (.post, "/api/auth/refresh", nil),
            (.post, "/api/auth/file-token", ["resource": "x"]), (.post, "/api/auth/users/totp/setup", nil),
            (.post, "/api/auth/reauthenticate", ["password": .string(TestServer.password)]),
            (.post, "/api/auth/users/change-password", change), (.post, Self.mine, ["type": "apikey"]),
            (.post, Self.mine, ["type": "mfa"]), (.delete, "/api/records/users/\(ada.id)", nil),
            (.patch, "/api/records/users/\(ada.id)", ["email": "new@example.org"]),
        ]
        for (method, path, body) in attempts {
            let refused = try await server.send(method, path, body, token: key.text)
            #expect((refused.status, refused.code) == (403, "session_required"), "\(path)")
        }
        #expect(try await server.get(Self.me, token: key.text).status == 200)
    }

    @Test(arguments: Engine.available)
    func `keys need no second factor, and outlive the signing secret`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.mfa.required": "off"])
        let ada = try await ada(on: server)
        let key = try await key(server, by: ada.token)
        try await server.set(["auth.mfa.required": "all"])
        #expect(try await server.get(Self.mine, token: ada.token).code == "mfa_enrolment_required")
        #expect(try await server.get(Self.mine, token: key.text).status == 200)
        try await Commands(server.app.installation).rotateSecret(loggingEveryoneOut: true)
        #expect(try await server.get(Self.me, token: ada.token).status == 401)
        #expect(try await server.get(Self.me, token: key.text).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a user has so many keys and no more`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let now = server.clock.now
        try await server.services.db.write { tx in
            for number in 0..<APIKeys.countMax {
                let id = SecretID(at: now, random: .system)
                try tx.execute(
                    """
                    INSERT INTO secrets (id, user_id, type, hash, created_at, name)
                    VALUES (\(id), \(ada.id), 'apikey', '', \(now), \("key \(number)"))
                    """
                )
            }
        }
        let refused = try await server.post(Self.mine, ["type": "apikey"], token: ada.token)
        #expect((refused.status, refused.code) == (409, "too_many_secrets"))
    }

    @Test(arguments: Engine.available)
    func `a key that is gone on one node is gone on the other`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let ada = try await ada(on: nodes[0])
        let key = try await key(nodes[0], by: ada.token)
        #expect(try await eventually { try await nodes[1].get(Self.me, token: key.text).status == 200 })
        _ = try await nodes[0].send(.delete, Self.mine + "/\(key.id)", token: ada.token).data()
        #expect(try await eventually { try await nodes[1].get(Self.me, token: key.text).status == 401 })
    }
}
