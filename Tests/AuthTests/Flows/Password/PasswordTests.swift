import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct PasswordTests {
    private static let login = "/api/auth/users/login"

    @Test(arguments: Engine.available)
    func `one logs in by email, username or identity, in any case`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("Ada@Example.org", ["username": "Ada.L"])
        let names: [JSON] = [
            ["email": "ada@example.ORG"], ["username": "ada.l"], ["identity": "ADA.L"], ["identity": "ada@example.org"],
        ]
        for name in names {
            guard case .object(let members) = name else { continue }
            let body = (["password": .string(TestServer.password)] as JSON).merging(members)
            let data = try await server.post(Self.login, body).data()
            #expect(data["token_type"] == "jwt")
            #expect(data["record"]?["email"] == "Ada@Example.org")
            #expect(data["record"]?["last_login_at"] == server.clock.now.json)
        }
    }

    @Test(arguments: Engine.available)
    func `every cause of a failed login has one answer`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await server.signUp("ada@example.org")
        let suspended = try await server.signUp("eve@example.org")["id"]?.text ?? ""
        let users = "/api/admin/users/users"
        _ = try await server.send(.patch, "\(users)/\(suspended)", ["status": "suspended"], token: admin).data()
        _ = try await server.post(users, ["kind": "system", "email": "job@example.org"], token: admin).data()
        _ = try await server.post(
            users,
            ["email": "new@example.org", "password": .string(TestServer.password), "status": "pending"],
            token: admin
        ).data()
        let attempts: [(String, String)] = [
            ("ada@example.org", "wrong wrong"), ("nobody@example.org", TestServer.password),
            ("eve@example.org", TestServer.password),
            ("job@example.org", TestServer.password), ("new@example.org", TestServer.password),
            ("not an email", TestServer.password),
            ("ada@example.org", String(repeating: "x", count: 5000)),
        ]
        for (email, password) in attempts {
            let reply = try await server.post(Self.login, ["email": .string(email), "password": .string(password)])
            #expect(reply.status == 401, "\(email)")
            #expect(reply.code == "invalid_credentials")
            #expect(reply.error == AuthError.Code.invalidCredentials.text)
            #expect(reply.details == nil)
        }
        #expect(try await server.count("SELECT count(*) AS count FROM sessions WHERE kind = 'user'") == 0)
        #expect(try await server.audit().filter { $0 == "sign_in.failed" }.count == attempts.count)
    }

    @Test(arguments: Engine.available)
    func `a changed password ends every session, and only the new one works`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let here = try await server.signedUp("ada@example.org")
        let there = try await server.signIn("ada@example.org")
        let body: JSON = ["current_password": .string(TestServer.password), "password": "a new good one"]
        let fresh = try await server.post("/api/auth/users/change-password", body, token: here).data()["token"]?.text
        for token in [here, there] {
            #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "password_changed"])
        }
        #expect(try await server.get("/api/auth/me", token: fresh).status == 200)
        #expect(
            try await server.post(Self.login, ["email": "ada@example.org", "password": .string(TestServer.password)])
                .status == 401
        )
        #expect(
            try await server.post(Self.login, ["email": "ada@example.org", "password": "a new good one"]).status == 200
        )
        #expect(try await server.count("SELECT count(*) AS count FROM secrets") == 1)
        #expect(try await server.audit().contains("password.changed"))
    }

    @Test(arguments: Engine.available)
    func `of changes at once exactly one counts`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "0"])
        let token = try await server.signedUp("ada@example.org")
        let wins = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<16 {
                group.addTask {
                    let body: JSON = [
                        "current_password": .string(TestServer.password), "password": .string("a new one \(number)"),
                    ]
                    return try await server.post("/api/auth/users/change-password", body, token: token).status
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 == 200 ? 1 : 0 }
        }
        #expect(wins == 1)
        #expect(try await server.audit().filter { $0 == "password.changed" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `weak passwords are refused wherever one is set`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let weak = [
            "short": "must be at least 8 characters",
            "Password123": "is one of the most common passwords; choose another",
            "x\u{0}xxxxxxxxx": "must not contain NUL characters",
            String(repeating: "é", count: 257): "must be at most 256 characters",
            String(repeating: "a", count: 10_000): "must be at most 256 characters",
        ]
        for (password, message) in weak {
            let value = JSON.string(password)
            let replies = [
                try await server.post("/api/auth/users/register", ["email": "new@example.org", "password": value]),
                try await server.post(
                    "/api/auth/users/change-password",
                    ["current_password": .string(TestServer.password), "password": value],
                    token: token
                ),
                try await server.post(
                    "/api/admin/users/users",
                    ["email": "new@example.org", "password": value],
                    token: admin
                ),
                try await server.send(.patch, "/api/admin/users/users/\(id)", ["password": value], token: admin),
                try await server.post(
                    "/api/admin/admins",
                    ["email": "new@example.org", "password": value],
                    token: admin
                ),
            ]
            for (index, reply) in replies.enumerated() {
                #expect(reply.status == 422, "\(index) \(password.prefix(20))")
                #expect(reply.details == ["password": .string(message)], "\(index) \(password.prefix(20))")
            }
        }
        #expect(try await server.users() == 2)
    }

    @Test(arguments: Engine.available)
    func `the seeds' example password is allowed and one's own email is not`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let path = "/api/auth/users/register"
        #expect(try await server.post(path, ["email": "alice@x.com", "password": "secret123"]).status == 200)
        for own in ["somebody@example.org", "SOMEBODY@example.org", "Somebody"] {
            let reply = try await server.post(path, ["email": "somebody@example.org", "password": .string(own)])
            #expect(reply.details == ["password": "must not be your email"])
        }
        try await server.set(["password.min_length": "4", "password.blocklist": "0"])
        #expect(try await server.post(path, ["email": "bob@x.com", "password": "1234"]).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a hash of other parameters is renewed at the next login`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        // Made by libsodium for "correct horse battery" with m=8 MiB, t=3.
        let old = try OldHash.make(TestServer.password)
        _ = try await server.services.db.write { tx in try tx.execute("UPDATE secrets SET hash = \(old)") }
        _ = try await server.signIn("ada@example.org")
        let hash: String = try await server.services.db.read { tx in try tx.one("SELECT hash FROM secrets")!.get("hash")
        }
        #expect(hash.hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
        #expect(
            try await server.post(Self.login, ["email": "ada@example.org", "password": .string(TestServer.password)])
                .status == 200
        )
    }

    @Test(arguments: Engine.available)
    func `logins at once renew an old hash once, and all succeed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let old = try OldHash.make(TestServer.password)
        _ = try await server.services.db.write { tx in try tx.execute("UPDATE secrets SET hash = \(old)") }
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let body: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
                    return try await server.post(Self.login, body).status
                }
            }
            return try await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 200, count: 8))
    }

    @Test(arguments: Engine.available)
    func `a proof whose password was changed since begins nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let id = try #require(UserID(rawValue: try await server.signUp("ada@example.org")["id"]?.text ?? ""))
        let users = try #require(try await server.services.collections()["users"])
        let hash = try await server.services.db.read { tx in try tx.passwordHash(of: id)?.rawValue }
        let proof = Proof(subject: id, methods: [.password], at: server.clock.now) { tx in
            try tx.passwordHash(of: id)?.rawValue == hash
        }
        let token = try await server.signIn("ada@example.org")
        let body: JSON = ["current_password": .string(TestServer.password), "password": "a new good one"]
        _ = try await server.post("/api/auth/users/change-password", body, token: token).data()
        let client = Client(address: "192.0.2.1", userAgent: nil)
        let account = Lockout.Account(user: id, name: nil, collection: users.id)
        let lockout = Lockout(services: server.services, account: account, client: client)
        let before = try await server.count("SELECT count(*) AS count FROM sessions")
        await #expect(throws: AuthError.self) {
            _ = try await Sessions(services: server.services).begin(proof, in: users, lockout: lockout, from: client)
        }
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == before)
        #expect(try await server.audit().last == "sign_in.failed")
    }

    @Test(arguments: Engine.available)
    func `no password is stored or answered in plain text`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let record = try await server.signUp("ada@example.org")
        #expect(!record.serialized.contains(TestServer.password))
        #expect(record["password"] == nil)
        let rows = try await server.services.db.read { tx in try tx.all("SELECT * FROM users").count }
        #expect(rows == 1)
        #expect(try await server.count("SELECT count(*) AS count FROM users WHERE data LIKE '%horse%'") == 0)
    }
}
