import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct PasswordResetTests {
    private static let request = "/api/auth/users/request-password-reset"
    private static let confirm = "/api/auth/users/confirm-password-reset"
    private static let new = "a brand new one"

    private static func body(_ token: String, _ password: String = new) -> JSON {
        ["token": .string(token), "password": .string(password)]
    }

    @Test(arguments: Engine.available)
    func `the mailed token sets a password, ends every session, and its owner is told`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let session = try await server.signedUp("ada@example.org")
        server.clock.advance(seconds: 1)
        #expect(try await server.post(Self.request, ["email": "ADA@example.org"]).data() == ["sent": true])
        let token = try await server.token(to: "ada@example.org", .reset)
        server.clock.advance(seconds: 1)
        #expect(try await server.post(Self.confirm, Self.body(token)).data() == ["reset": true])
        let ended = try await server.get("/api/auth/me", token: session)
        #expect((ended.status, ended.details) == (401, ["reason": "password_changed"]))
        let fresh = try await server.signIn("ada@example.org", password: Self.new)
        #expect(try await server.get("/api/auth/me", token: fresh).data()["email_verified"] == true)
        await #expect(throws: (any Error).self) { try await server.signIn("ada@example.org") }
        #expect(
            try await server.mails() == [
                "verify ada@example.org", "reset ada@example.org", "notice ada@example.org",
            ]
        )
        let notice = try await server.mail(to: "ada@example.org", .notice)
        #expect(notice["subject"] == "Your password was changed")
        #expect(notice["text"]?.text?.contains("192.0.2.1") == true)
        let audit = try await server.audit()
        #expect(audit.filter { $0 == "password_reset.requested" || $0 == "password.reset" }.count == 2)
    }

    @Test(arguments: Engine.available)
    func `an unknown address gets the same answer, and nobody a mail`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let suspended = try await server.signUp("eve@example.org")["id"]?.text ?? ""
        let users = "/api/admin/users/users"
        _ = try await server.send(.patch, "\(users)/\(suspended)", ["status": "suspended"], token: admin).data()
        _ = try await server.post(users, ["kind": "system", "email": "job@example.org"], token: admin).data()
        let before = try await server.mails().filter { $0.hasPrefix("reset") }
        for email in ["nobody@example.org", "eve@example.org", "job@example.org"] {
            let reply = try await server.post(Self.request, ["email": .string(email)])
            #expect((reply.status, reply.json["data"]) == (200, ["sent": true]), "\(email)")
        }
        #expect(try await server.mails().filter { $0.hasPrefix("reset") } == before)
        // The same work: a mail to nobody, and a token that nobody knows, each time.
        #expect(try await server.mails().filter { $0 == "void reset" }.count == 3)
        let tokens: SQL = "SELECT count(*) AS count FROM one_time_tokens WHERE purpose = 'reset' AND subject_id IS NULL"
        #expect(try await server.count(tokens) == 3)
    }

    @Test(arguments: Engine.available)
    func `a weak password leaves the token good, and a spent or late one sets nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        _ = try await server.post(Self.request, ["email": "ada@example.org"]).data()
        let token = try await server.token(to: "ada@example.org", .reset)
        for weak in ["short", "password", "ada@example.org"] {
            let reply = try await server.post(Self.confirm, Self.body(token, weak))
            #expect((reply.status, reply.code) == (422, "validation_failed"), "\(weak)")
        }
        _ = try await server.post(Self.confirm, Self.body(token)).data()
        for (token, password) in [
            (token, "yet another one"), ("x", Self.new), (OneTimeToken(random: .system).text, Self.new),
        ] {
            let reply = try await server.post(Self.confirm, Self.body(token, password))
            #expect((reply.status, reply.code) == (400, "invalid_one_time_token"))
        }
        server.clock.advance(seconds: 1)
        _ = try await server.post(Self.request, ["email": "ada@example.org"]).data()
        let late = try await server.token(to: "ada@example.org", .reset)
        server.clock.advance(seconds: 3600)
        #expect(try await server.post(Self.confirm, Self.body(late, "yet another one")).status == 400)
        _ = try await server.signIn("ada@example.org", password: Self.new)
    }

    @Test(arguments: Engine.available)
    func `a reset gets a locked account in again`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "2"])
        try await server.signUp("ada@example.org")
        let wrong: JSON = ["email": "ada@example.org", "password": "wrong wrong"]
        for _ in 0..<2 { _ = try await server.post("/api/auth/users/login", wrong) }
        #expect(try await server.post("/api/auth/users/login", wrong).status == 429)
        _ = try await server.post(Self.request, ["email": "ada@example.org"]).data()
        let token = try await server.token(to: "ada@example.org", .reset)
        _ = try await server.post(Self.confirm, Self.body(token)).data()
        _ = try await server.signIn("ada@example.org", password: Self.new)
    }

    /// What makes an outstanding token worthless.
    @Test(arguments: Engine.available)
    func `a change of password or email and a suspension kill everything outstanding`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let admin = try await server.admin()
        let id = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        let account = "/api/admin/users/users/\(id)"
        let changes: [(JSON, JSON?)] = [
            (["password": "set by an admin"], nil), (["email": "ada2@example.org"], ["email": "ada@example.org"]),
            (["status": "suspended"], ["status": "active"]),
        ]
        for (change, back) in changes {
            server.clock.advance(seconds: 60)
            _ = try await server.post(Self.request, ["email": "ada@example.org"]).data()
            _ = try await server.post("/api/auth/users/otp/request", ["email": "ada@example.org"]).data()
            let token = try await server.token(to: "ada@example.org", .reset)
            let otp = try await server.mail(to: "ada@example.org", .otp)
            _ = try await server.send(.patch, account, change, token: admin).data()
            if let back { _ = try await server.send(.patch, account, back, token: admin).data() }
            #expect(try await server.post(Self.confirm, Self.body(token)).status == 400, "\(change)")
            let byLink: JSON = ["token": otp["token"] ?? .null]
            #expect(try await server.post("/api/auth/users/otp/auth", byLink).status == 400, "\(change)")
            let byCode: JSON = ["email": "ada@example.org", "code": otp["code"] ?? .null]
            #expect(try await server.post("/api/auth/users/otp/auth", byCode).status == 400, "\(change)")
        }
        #expect(try await server.count("SELECT count(*) AS count FROM sessions WHERE kind = 'user'") == 0)
    }

    @Test(arguments: Engine.available)
    func `an account is mailed at most twenty times an hour, and answers stay the same`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        for _ in 0..<25 {
            #expect(try await server.post(Self.request, ["email": "ada@example.org"]).data() == ["sent": true])
        }
        #expect(try await server.mails().filter { $0 == "reset ada@example.org" }.count == Outbox.floodMax)
        server.clock.advance(seconds: Outbox.floodSeconds)
        _ = try await server.post(Self.request, ["email": "ada@example.org"]).data()
        #expect(try await server.mails().filter { $0 == "reset ada@example.org" }.count == Outbox.floodMax + 1)
    }

    @Test(arguments: Engine.available)
    func `who gets an account that was registered in their name is rid of the squatter's API keys`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let squatter = try await server.signedUp("ada@example.org")
        let made = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: squatter).data()
        func reset() async throws {
            server.clock.advance(seconds: 1)
            _ = try await server.post("/api/auth/users/request-password-reset", ["email": "ada@example.org"]).data()
            let token = try await server.token(to: "ada@example.org", .reset)
            let body: JSON = ["token": .string(token), "password": .string(TestServer.password)]
            _ = try await server.post("/api/auth/users/confirm-password-reset", body).data()
        }
        try await reset()
        #expect(try await server.get("/api/auth/me", token: made["secret"]?.text).code == "invalid_token")
        let owner = try await server.signIn("ada@example.org")
        let own = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: owner).data()
        try await reset()
        #expect(try await server.get("/api/auth/me", token: own["secret"]?.text).status == 200)
    }
}
