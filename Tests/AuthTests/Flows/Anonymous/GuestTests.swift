import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct GuestTests {
    private static let begin = "/api/auth/users/anonymous"
    private static let promote = "/api/auth/users/promote"
    private static let on: [String: String?] = ["auth.anonymous.enabled": "1"]
    private static let account: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]

    private struct Guest {
        let id: String
        let token: String
        let record: JSON
    }

    private func guest(on server: TestServer) async throws -> Guest {
        let answer = try await server.post(Self.begin).data()
        let record = answer["record"] ?? .null
        return Guest(id: record["id"]?.text ?? "", token: answer["token"]?.text ?? "", record: record)
    }

    private func claims(_ token: String) throws -> JSON {
        let payload = try #require(Base64URL.decode(token.split(separator: ".")[1]))
        return try #require(JSON(parsing: payload))
    }

    @Test(arguments: Engine.available)
    func `a guest begins without email and password, for thirty days`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let guest = try await guest(on: server)
        #expect(guest.record["email"]?.text == "anon_\(guest.id)@anonymous.invalid")
        #expect(guest.record["anonymous"] == true)
        let claims = try claims(guest.token)
        #expect((claims["anonymous"], claims["aud"], claims["amr"]) == (true, "user", ["anon"]))
        #expect(claims["exp"] == .integer(server.clock.now.seconds + 2_592_000))
        #expect(try await server.get("/api/auth/me", token: guest.token).data()["id"]?.text == guest.id)
        #expect(try await server.mails() == [])
        #expect(try await server.audit().suffix(2) == ["guest.created", "sign_in.succeeded"])
        let patch: JSON = ["cart": ["apples"]]
        _ = try await server.send(.patch, "/api/records/users/\(guest.id)", patch, token: guest.token).data()
    }

    @Test(arguments: Engine.available)
    func `it is off by default, and nobody is a guest where nobody may register`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let off = try await server.post(Self.begin)
        #expect((off.status, off.code) == (422, "feature_disabled"))
        try await server.set(Self.on)
        #expect(try await server.post("/api/auth/_admins/anonymous").code == "forbidden")
        let closed: JSON = ["options": ["registration": false]]
        _ = try await server.send(.patch, "/api/collections/users", closed, token: try await server.admin()).data()
        #expect(try await server.post(Self.begin).code == "forbidden")
        #expect(try await server.count("SELECT count(*) AS count FROM users WHERE anonymous = TRUE") == 0)
    }

    @Test(arguments: Engine.available)
    func `a guest becomes a real account with the same id`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let guest = try await guest(on: server)
        _ = try await server.send(.patch, "/api/records/users/\(guest.id)", ["cart": "apples"], token: guest.token)
            .data()
        let promoted = try await server.post(Self.promote, Self.account, token: guest.token).data()
        let record = promoted["record"]
        #expect((record?["id"]?.text, record?["anonymous"], record?["cart"]) == (guest.id, false, "apples"))
        #expect((record?["email"], record?["email_verified"]) == ("ada@example.org", false))
        let token = promoted["token"]?.text ?? ""
        #expect(try claims(token)["anonymous"] == nil)
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["pwd"])
        #expect(try await server.get("/api/auth/me", token: guest.token).code == "session_ended")
        #expect(try await server.signIn("ada@example.org") != "")
        #expect(try await server.mails() == ["verify ada@example.org"])
        #expect(try await server.users() == 1)
        #expect(try await server.audit().filter { $0 == "guest.promoted" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `each refusal of a promotion has its status`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let guest = try await guest(on: server)
        let real = try await server.signedUp("eve@example.org")
        func status(_ body: JSON, _ token: String?) async throws -> Int {
            try await server.post(Self.promote, body, token: token).status
        }
        #expect(try await status(Self.account, nil) == 401)
        #expect(try await status(Self.account, real) == 403)
        #expect(try await status(["email": "EVE@example.org", "password": "secret123"], guest.token) == 409)
        for (email, password) in [
            ("ada", "secret123"), ("ada@example.org", "short"), ("", "secret123"), ("x@anonymous.invalid", "secret123"),
        ] {
            #expect(try await status(["email": .string(email), "password": .string(password)], guest.token) == 422)
        }
        #expect(try await server.post(Self.promote, ["email": "ada@example.org"], token: guest.token).status == 422)
        #expect(try await server.get("/api/auth/me", token: guest.token).data()["anonymous"] == true)
        _ = try await server.post(Self.promote, Self.account, token: guest.token).data()
    }

    @Test(arguments: Engine.available)
    func `a promotion asks for what register asks for`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let fields: JSON = ["fields": [["name": "nick", "type": "text", "required": true, "unique": true]]]
        _ = try await server.send(.patch, "/api/collections/users", fields, token: try await server.admin()).data()
        let guest = try await guest(on: server)
        let missing = try await server.post(Self.promote, Self.account, token: guest.token)
        #expect((missing.status, missing.details?["nick"]) == (422, "is required"))
        _ = try await server.send(.patch, "/api/records/users/\(guest.id)", ["nick": "Ada"], token: guest.token).data()
        let promoted = try await server.post(Self.promote, Self.account, token: guest.token).data()
        #expect(promoted["record"]?["nick"] == "Ada")
    }

    @Test(arguments: Engine.available)
    func `of promotions at once one succeeds`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let guest = try await guest(on: server)
        let statuses = try await withThrowingTaskGroup { group in
            for number in 0..<16 {
                let body: JSON = ["email": .string("ada\(number)@example.org"), "password": "secret123"]
                group.addTask { try await server.post(Self.promote, body, token: guest.token).status }
            }
            return try await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(statuses.filter { $0 == 200 }.count == 1)
        #expect(statuses.allSatisfy { [200, 401, 403].contains($0) })
        #expect(try await server.count("SELECT count(*) AS count FROM secrets") == 1)
    }

    @Test(arguments: Engine.available)
    func `a refresh keeps the guest's window and claim`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        try await server.set(["auth.refresh.window_seconds": "120"])
        let guest = try await guest(on: server)
        server.clock.advance(seconds: 60)
        let refreshed = try await server.post("/api/auth/refresh", token: guest.token).data()
        let claims = try claims(refreshed["token"]?.text ?? "")
        #expect(claims["anonymous"] == true)
        #expect(claims["exp"] == .integer(server.clock.now.seconds + 2_592_000))
    }

    @Test(arguments: [
        ("59", 2_592_000), ("60", 60), ("31536000", 31_536_000), ("31536001", 2_592_000), ("soon", 2_592_000),
    ])
    func `a window out of bounds falls back to the default`(_ text: String, _ seconds: Int) async throws {
        let server = try await TestServer(.sqlite, settings: Self.on)
        try await server.set(["auth.anonymous.window_seconds": text])
        let guest = try await guest(on: server)
        #expect(try claims(guest.token)["exp"] == .integer(server.clock.now.seconds + Int64(seconds)))
    }

    @Test(arguments: Engine.available)
    func `a guest is never mailed to, signs in no other way and makes no credentials`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: Self.on.merging(["auth.otp.enabled": "1", "auth.mfa.required": "all"]) { own, _ in own }
        )
        let guest = try await guest(on: server)
        let address: JSON = ["email": guest.record["email"] ?? .null]
        for path in ["otp/request", "request-password-reset"] {
            #expect(try await server.post("/api/auth/users/" + path, address).data() == ["sent": true])
        }
        _ = try await server.post("/api/auth/users/request-verify", token: guest.token)
        _ = try await server.post("/api/users/\(guest.id)/recover")
        #expect(try await server.mails().allSatisfy { $0.hasPrefix("void ") })
        let attempts: [(HTTPRequest.Method, String, JSON?)] = [
            (.post, "/api/users/me/secrets", ["type": "apikey"]), (.post, "/api/auth/users/totp/setup", nil),
            (.post, "/api/users/me/secrets", ["type": "password", "secret": "another good one"]),
            (.patch, "/api/records/users/\(guest.id)", ["email": "ada@example.org"]),
        ]
        for (method, path, body) in attempts {
            #expect(try await server.send(method, path, body, token: guest.token).code == "forbidden", "\(path)")
        }
    }

    @Test(arguments: Engine.available)
    func `guests who never came back are removed a month after their token`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let gone = try await guest(on: server)
        let promoted = try await guest(on: server)
        _ = try await server.post(Self.promote, Self.account, token: promoted.token).data()
        server.clock.advance(seconds: 86_400 * 20)
        let staying = try await guest(on: server)
        server.clock.advance(seconds: 86_400 * 40 - 1)
        try await server.sweeper.sweep()
        #expect(try await server.users() == 3)
        server.clock.advance(seconds: 2)
        try await server.sweeper.sweep()
        let left = try await server.services.db.read { tx in
            try tx.all("SELECT id FROM users ORDER BY created_at, id").map { try $0.get("id") as String }
        }
        #expect(Set(left) == [promoted.id, staying.id])
        #expect(!left.contains(gone.id))
        #expect(try await server.audit().filter { $0 == "guest.removed" }.count == 1)
    }
}
