import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct SessionsTests {
    @Test(arguments: Engine.available)
    func `a session is told to its owner and dies at logout with its reason`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let me = try await server.get("/api/auth/me", token: token).data()
        #expect(me["email"] == "ada@example.org")
        #expect(me["aud"] == "user")
        #expect(me["amr"] == ["pwd"])
        #expect(me["collection"] == "users")
        #expect(try await server.post("/api/auth/logout", token: token).data() == ["ok": true])
        let refused = try await server.get("/api/auth/me", token: token)
        #expect(refused.status == 401)
        #expect(refused.code == "session_ended")
        #expect(refused.details == ["reason": "logout"])
        #expect(refused.headers[.wwwAuthenticate] == #"Bearer realm="latchkey", error="invalid_token""#)
        #expect(try await server.audit().suffix(2) == ["sign_in.succeeded", "session.ended"])
    }

    @Test(arguments: Engine.available)
    func `no field of a record passes for a claim`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org", ["aud": "admin", "exp": 1, "amr": ["mfa"], "nick": "a"])
        let me = try await server.get("/api/auth/me", token: try await server.signIn("ada@example.org")).data()
        #expect(me["aud"] == "user")
        #expect(me["amr"] == ["pwd"])
        #expect(me["exp"] == .integer(server.clock.now.seconds + 604_800))
        #expect(me["nick"] == "a")
    }

    @Test(arguments: Engine.available)
    func `every token of a session dies with it, refreshed ones too`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let first = try await server.signedUp("ada@example.org")
        let second = try await server.post("/api/auth/refresh", token: first).data()["token"]?.text
        #expect(second != first)
        _ = try await server.post("/api/auth/logout", token: second).data()
        #expect(try await server.get("/api/auth/me", token: first).code == "session_ended")
        #expect(try await server.post("/api/auth/refresh", token: first).code == "session_ended")
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == 1)
    }

    @Test(arguments: Engine.available)
    func `a refresh keeps the session and its claims, with the window configured now`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let before = try await claims(of: token, server)
        try await server.set(["auth.user.window_seconds": "120"])
        server.clock.advance(seconds: 30)
        let reply = try await server.post("/api/auth/refresh", token: token).data()
        let after = try await claims(of: reply["token"]?.text ?? "", server)
        #expect(after.session == before.session)
        #expect(after.user == before.user)
        #expect(after.methods == before.methods)
        #expect(after.tokenID != before.tokenID)
        #expect(after.expiresAt.seconds == server.clock.now.seconds + 120)
        #expect(reply["expires_at"] == after.expiresAt.json)
        try await server.set(["auth.refresh.window_seconds": "300"])
        let third = try await server.post("/api/auth/refresh", token: token).data()["token"]?.text ?? ""
        #expect(try await claims(of: third, server).expiresAt.seconds == server.clock.now.seconds + 300)
    }

    @Test(arguments: Engine.available)
    func `no refresh carries a session beyond its absolute end`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["auth.session.absolute_seconds": "600", "auth.user.window_seconds": "400"]
        )
        var token = try await server.signedUp("ada@example.org")
        let start = server.clock.now
        server.clock.advance(seconds: 350)
        token = try await server.post("/api/auth/refresh", token: token).data()["token"]?.text ?? ""
        #expect(try await claims(of: token, server).expiresAt.seconds == start.seconds + 600)
        server.clock.advance(seconds: 251)
        let refused = try await server.post("/api/auth/refresh", token: token)
        #expect(refused.code == "session_ended")
        #expect(refused.details == ["reason": "expired"])
    }

    @Test(arguments: Engine.available)
    func `a session older than an absolute end that was lowered is over at its next refresh`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        server.clock.advance(seconds: 100)
        try await server.set(["auth.session.absolute_seconds": "60"])
        let refused = try await server.post("/api/auth/refresh", token: token)
        #expect(refused.code == "session_ended")
        #expect(refused.details == ["reason": "expired"])
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a window that was shortened leaves earlier tokens alone`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        try await server.set(["auth.user.window_seconds": "60"])
        let short = try await server.post("/api/auth/refresh", token: token).data()["token"]?.text
        server.clock.advance(seconds: 60)
        #expect(try await server.get("/api/auth/me", token: short).code == "token_expired")
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
    }

    @Test(arguments: Engine.available)
    func `an expired token is refused while its session lives on`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["auth.user.window_seconds": "60", "auth.refresh.window_seconds": "600"]
        )
        let token = try await server.signedUp("ada@example.org")
        server.clock.advance(seconds: 59)
        let fresh = try await server.post("/api/auth/refresh", token: token).data()["token"]?.text
        server.clock.advance(seconds: 1)
        #expect(try await server.get("/api/auth/me", token: token).code == "token_expired")
        #expect(try await server.get("/api/auth/me", token: fresh).status == 200)
    }

    @Test(arguments: Engine.available)
    func `sessions are listed newest first, and ended one by one or together`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let first = try await server.signedUp("ada@example.org")
        server.clock.advance(seconds: 1)
        let second = try await server.signIn("ada@example.org")
        server.clock.advance(seconds: 1)
        let third = try await server.signIn("ada@example.org")
        guard case .array(let listed) = try await server.get("/api/auth/sessions", token: third).data() else { return }
        #expect(listed.map { $0["current"] } == [true, false, false])
        let id = listed[2]["id"]?.text ?? ""
        #expect(try await server.send(.delete, "/api/auth/sessions/\(id)", token: third).status == 200)
        #expect(try await server.get("/api/auth/me", token: first).details == ["reason": "revoked"])
        #expect(try await server.send(.delete, "/api/auth/sessions/\(id)", token: third).status == 404)
        #expect(try await server.send(.delete, "/api/auth/sessions?scope=others", token: third).data() == ["ended": 1])
        #expect(try await server.get("/api/auth/me", token: second).code == "session_ended")
        #expect(try await server.get("/api/auth/me", token: third).status == 200)
        #expect(try await server.send(.delete, "/api/auth/sessions?scope=all", token: third).data() == ["ended": 1])
        #expect(try await server.get("/api/auth/me", token: third).code == "session_ended")
    }

    @Test(arguments: Engine.available)
    func `nobody ends another's session`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.signedUp("ada@example.org")
        let eve = try await server.signedUp("eve@example.org")
        let id = try await claims(of: ada, server).session
        #expect(try await server.send(.delete, "/api/auth/sessions/\(id)", token: eve).status == 404)
        #expect(try await server.get("/api/auth/me", token: ada).status == 200)
        #expect(try await server.send(.delete, "/api/auth/sessions?scope=x", token: ada).status == 422)
    }

    @Test(arguments: Engine.available)
    func `a file token opens nothing here and tells its resource`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.file.window_seconds": "90"])
        let token = try await server.signedUp("ada@example.org")
        let reply = try await server.post("/api/auth/file-token", ["resource": "photos/1.jpg"], token: token).data()
        let file = reply["token"]?.text ?? ""
        let claims = try await claims(of: file, server)
        #expect(claims.audience == .file)
        #expect(claims.resource == "photos/1.jpg")
        #expect(claims.expiresAt.seconds == server.clock.now.seconds + 90)
        #expect(try await server.get("/api/auth/me", token: file).code == "invalid_token")
        #expect(try await server.audit().last == "file_token.issued")
    }

    @Test(arguments: Engine.available)
    func `when a session was last used is told to the minute`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        server.clock.advance(seconds: 61)
        _ = try await server.get("/api/auth/me", token: token).data()
        guard case .array(let listed) = try await server.get("/api/auth/sessions", token: token).data() else { return }
        #expect(listed.first?["last_seen_at"] == server.clock.now.json)
    }

    @Test(arguments: Engine.available)
    func `the sweeper removes what is over and nothing else`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.user.window_seconds": "60"])
        _ = try await server.signedUp("ada@example.org")
        try await server.set(["auth.user.window_seconds": "31536000"])
        let live = try await server.signIn("ada@example.org")
        server.clock.advance(seconds: Int(Session.endedKeptDays + 2) * 86_400 + 61)
        try await server.sweeper.sweep()
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == 1)
        #expect(try await server.get("/api/auth/me", token: live).status == 200)
    }

    @Test(arguments: Engine.available)
    func `sessions against a model, over random operations`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["auth.user.window_seconds": "500", "auth.lockout.max_attempts": "0"]
        )
        try await server.signUp("ada@example.org")
        var random = SplitMix64(seed: 42)
        var live: [(token: String, endsAt: Int64)] = []
        for _ in 0..<60 {
            switch random.next() % 5 {
            case 0, 1:
                live.append((try await server.signIn("ada@example.org"), server.clock.now.seconds + 500))
            case 2 where !live.isEmpty:
                let index = Int(random.next() % UInt64(live.count))
                _ = try await server.post("/api/auth/logout", token: live[index].token)
                live.remove(at: index)
            case 3 where !live.isEmpty:
                let kept = live[Int(random.next() % UInt64(live.count))]
                _ = try await server.send(.delete, "/api/auth/sessions?scope=others", token: kept.token)
                live = [kept]
            default:
                server.clock.advance(seconds: Int(random.next() % 120))
                live.removeAll { $0.endsAt <= server.clock.now.seconds }
            }
            for session in live { #expect(try await server.get("/api/auth/me", token: session.token).status == 200) }
            guard let any = live.first else { continue }
            guard case .array(let listed) = try await server.get("/api/auth/sessions", token: any.token).data() else {
                return
            }
            #expect(listed.count == live.count)
        }
    }

    private func claims(of token: String, _ server: TestServer) async throws -> SessionClaims {
        try #require(try await server.services.signingKeys().verify(token))
    }

    /// A request may be admitted long before its body has come.
    @Test(arguments: Engine.available)
    func `what was admitted before a session ended writes nothing afterwards`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let me = try await server.get("/api/auth/me", token: token).data()
        let id = try #require(UserID(rawValue: me["id"]?.text ?? ""))
        let session = try await server.services.db.read { tx in
            try tx.one("SELECT id FROM sessions")?.get("id", as: SessionID.self)
        }
        let actor = Actor(id: id, session: session, client: Client(address: "192.0.2.1", userAgent: nil))
        let collection = try #require(try await server.services.collections()["users"])
        let change = try RecordInput(["nick": "Countess"], for: .change, in: collection)
        _ = try await server.app.accounts.change(id, in: collection, to: change, by: actor)
        _ = try await server.post("/api/auth/logout", token: token).data()
        let late = try RecordInput(["nick": "Eve"], for: .change, in: collection)
        await #expect(throws: AuthError.self) {
            try await server.app.accounts.change(id, in: collection, to: late, by: actor)
        }
        await #expect(throws: AuthError.self) { try await server.app.accounts.delete(id, in: collection, by: actor) }
        let fresh = try await server.signIn("ada@example.org")
        #expect(try await server.get("/api/auth/me", token: fresh).data()["nick"] == "Countess")
    }
}
