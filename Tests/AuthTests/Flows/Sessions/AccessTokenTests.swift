import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct AccessTokenTests {
    private static let login = "/api/auth/users/login"
    private static let me = "/api/auth/me"

    private func credentials(_ more: JSON = [:]) -> JSON {
        guard case .object(let members) = more else { return .null }
        let body: JSON = [
            "email": "ada@example.org", "password": .string(TestServer.password), "token_type": "opaque",
        ]
        guard case .object(let usual) = body else { return .null }
        return .object(usual.merging(members) { _, new in new })
    }

    private func signIn(on server: TestServer, _ more: JSON = [:]) async throws -> (token: String, answer: JSON) {
        let answer = try await server.post(Self.login, credentials(more)).data()
        return (answer["token"]?.text ?? "", answer)
    }

    @Test(arguments: Engine.available)
    func `an opaque token opens what a JWT opens, for a day`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let (token, answer) = try await signIn(on: server)
        #expect(token.hasPrefix("lk_at_"))
        #expect(answer["token_type"] == "opaque")
        #expect(answer["expires_at"] == server.clock.now.advanced(bySeconds: 86_400).json)
        let me = try await server.get(Self.me, token: token).data()
        #expect(me["email"] == "ada@example.org")
        #expect((me["aud"], me["amr"]) == ("user", ["pwd"]))
        #expect(me["exp"] == .integer(server.clock.now.seconds + 86_400))
        server.clock.advance(seconds: 86_399)
        #expect(try await server.get(Self.me, token: token).status == 200)
        server.clock.advance(seconds: 1)
        let over = try await server.get(Self.me, token: token)
        #expect((over.status, over.code) == (401, "session_ended"))
        #expect(over.details?["reason"] == "expired")
    }

    @Test(arguments: Engine.available)
    func `the database holds a digest of it, and neither rows nor audit the token`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let (token, _) = try await signIn(on: server)
        let stored: [String] = try await server.services.db.read { tx in
            try tx.all("SELECT access_tokens FROM sessions").map { try $0.get("access_tokens") }
        }
        #expect(stored.count == 1)
        #expect(stored[0].hasPrefix(Base64URL.encode(Digest(of: token).bytes)))
        let secret = token.suffix(40)
        #expect(!stored[0].contains(secret))
        #expect(
            try await server.count("SELECT count(*) AS count FROM audit_log WHERE details LIKE \("%\(secret)%")") == 0
        )
    }

    @Test(arguments: Engine.available)
    func `it ends when asked for, at most a year ahead and never after the session`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let now = server.clock.now
        for seconds in [60, 86_400 * 30, 86_400 * 365] {
            let end = now.advanced(bySeconds: seconds)
            let answer = try await signIn(on: server, ["not_valid_after": end.json]).answer
            #expect(answer["expires_at"] == end.json)
            let asSeconds = try await signIn(on: server, ["not_valid_after": .integer(end.seconds)]).answer
            #expect(asSeconds["expires_at"] == end.json)
        }
        for wrong: JSON in [
            now.json, now.advanced(bySeconds: -1).json, now.advanced(bySeconds: 86_400 * 365 + 1).json, "tomorrow",
            true, -5, [],
        ] {
            let refused = try await server.post(Self.login, credentials(["not_valid_after": wrong]))
            #expect(refused.status == 422, "\(wrong)")
            #expect(refused.details?["not_valid_after"] != nil)
        }
        let later: JSON = ["token_type": "jwt", "not_valid_after": now.advanced(bySeconds: 60).json]
        #expect(try await server.post(Self.login, credentials(later)).status == 422)
        #expect(try await server.post(Self.login, credentials(["token_type": "paper"])).status == 422)
        try await server.set(["auth.session.absolute_seconds": "3600", "auth.access_token.window_seconds": "120"])
        let capped = try await signIn(on: server, ["not_valid_after": now.advanced(bySeconds: 86_400).json]).answer
        #expect(capped["expires_at"] == now.advanced(bySeconds: 3600).json)
        #expect(try await signIn(on: server).answer["expires_at"] == now.advanced(bySeconds: 120).json)
    }

    @Test(arguments: Engine.available)
    func `logout, suspension and a new password end it at once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let id = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        let admin = try await server.admin()
        let user = "/api/admin/users/users/\(id)"
        let ends: [(String, (String) async throws -> Void)] = [
            ("logout", { token in _ = try await server.post("/api/auth/logout", token: token).data() }),
            (
                "password_changed",
                { _ in
                    let new: JSON = ["password": .string(TestServer.password)]
                    _ = try await server.send(.patch, user, new, token: admin).data()
                }
            ),
            (
                "suspended",
                { _ in _ = try await server.send(.patch, user, ["status": "suspended"], token: admin).data() }
            ),
        ]
        for (reason, end) in ends {
            let (token, _) = try await signIn(on: server)
            #expect(try await server.get(Self.me, token: token).status == 200)
            try await end(token)
            let refused = try await server.get(Self.me, token: token)
            #expect((refused.status, refused.code) == (401, "session_ended"))
            #expect(refused.details?["reason"]?.text == reason)
        }
    }

    @Test(arguments: Engine.available)
    func `a refresh gives another one of the same session, and both hold`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let (first, _) = try await signIn(on: server)
        server.clock.advance(seconds: 3600)
        let refreshed = try await server.post("/api/auth/refresh", token: first).data()
        let second = refreshed["token"]?.text ?? ""
        #expect(second.hasPrefix("lk_at_") && second != first)
        #expect(refreshed["expires_at"] == server.clock.now.advanced(bySeconds: 86_400).json)
        for token in [first, second] { #expect(try await server.get(Self.me, token: token).status == 200) }
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == 1)
        server.clock.advance(seconds: 86_400 - 3600)
        #expect(try await server.get(Self.me, token: first).code == "token_expired")
        #expect(try await server.get(Self.me, token: second).status == 200)
    }

    @Test(arguments: Engine.available)
    func `no refresh goes beyond the end that was asked for`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let end = server.clock.now.advanced(bySeconds: 600)
        let (token, _) = try await signIn(on: server, ["not_valid_after": end.json])
        server.clock.advance(seconds: 300)
        let refreshed = try await server.post("/api/auth/refresh", token: token).data()
        #expect(refreshed["expires_at"] == end.json)
        server.clock.advance(seconds: 300)
        #expect(try await server.get(Self.me, token: refreshed["token"]?.text).code == "session_ended")
    }

    @Test(arguments: Engine.available)
    func `refreshes at once all give tokens that hold, and of too many the sign-in's own stays`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let (first, _) = try await signIn(on: server)
        let tokens = try await withThrowingTaskGroup { group in
            for _ in 1..<AccessToken.countMax {
                group.addTask { try await server.post("/api/auth/refresh", token: first).data()["token"]?.text ?? "" }
            }
            return try await group.reduce(into: [String]()) { $0.append($1) }
        }
        #expect(Set(tokens).count == AccessToken.countMax - 1)
        for token in tokens { #expect(try await server.get(Self.me, token: token).status == 200) }
        let last = try await server.post("/api/auth/refresh", token: first).data()["token"]?.text
        var dead: [String?] = []
        for token in [first, last] + tokens where try await server.get(Self.me, token: token).code == "invalid_token" {
            dead.append(token)
        }
        #expect(dead.count == 1 && dead != [first] && dead != [last])
    }

    @Test(arguments: Engine.available)
    func `the wish goes through the second factor, and a changed password keeps the type`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let jwt = try await server.signedUp("ada@example.org")
        let totp = try await server.enrol(jwt).totp
        func code() -> JSON { .string(totp.code(at: TOTP.step(at: server.clock.now))) }
        let end = server.clock.now.advanced(bySeconds: 86_400 * 2)
        let ticket = try await signIn(on: server, ["not_valid_after": end.json]).answer["mfa_token"] ?? .null
        let finished = try await server.post("/api/auth/users/login/mfa", ["mfa_token": ticket, "code": code()]).data()
        #expect((finished["token_type"], finished["expires_at"]) == ("opaque", end.json))
        let change: JSON = ["current_password": .string(TestServer.password), "password": "another good one"]
        let token = finished["token"]?.text
        let changed = try await server.post("/api/auth/users/change-password", change, token: token).data()
        #expect(changed["token_type"] == "opaque")
        #expect(try await server.get(Self.me, token: token).code == "session_ended")
        #expect(try await server.get(Self.me, token: changed["token"]?.text).data()["amr"] == ["pwd", "otp", "mfa"])
    }

    @Test(arguments: Engine.available)
    func `a made-up token of a known session is refused`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        let (token, _) = try await signIn(on: server)
        let session = try #require(OpaqueToken(parsing: token, .accessToken)?.session)
        let forged = OpaqueToken(accessTo: session, random: .system).text.reveal()
        let refused = try await server.get(Self.me, token: forged)
        #expect((refused.status, refused.code) == (401, "invalid_token"))
    }
}
