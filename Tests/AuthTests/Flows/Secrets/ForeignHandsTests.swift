import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What a leaked key, a lost device and somebody who was there before the owner can't do.
@Suite struct ForeignHandsTests {
    private static let mine = "/api/users/me/secrets"
    private static let me = "/api/auth/me"
    private static let deviceSecret = "9f2c7a41d8e35b06c1f48a7392de5b6047ac8e19f3d2b5607c4e81a9d36f0b25"

    private func key(_ server: TestServer, _ token: String, at path: String = mine) async throws -> String {
        try await server.post(path, ["type": "apikey"], token: token).data()["secret"]?.text ?? ""
    }

    private func device(_ server: TestServer, _ token: String, of email: String, in collection: String) async throws
        -> String
    {
        let trust: JSON = ["type": "device", "secret": .string(Self.deviceSecret), "name": "phone"]
        _ = try await server.post(Self.mine, trust, token: token).data()
        let login: JSON = ["identity": .string(email), "secret": .string(Self.deviceSecret)]
        return try await server.post("/api/auth/\(collection)/login/device", login).data()["token"]?.text ?? ""
    }

    @Test(arguments: Engine.available)
    func `neither an admin's key nor their device changes settings, acts as others or reads their mails`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let user = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        _ = try await server.post("/api/collections", ["name": "people", "fields": []], token: admin).data()
        let hands = [
            (try await key(server, admin), 403, "session_required"),
            (
                try await device(server, admin, of: TestServer.adminEmail, in: "_admins"), 401,
                "reauthentication_required"
            ),
        ]
        let requests: [(HTTPRequest.Method, String, JSON?)] = [
            (.patch, "/api/admin/settings", ["app.url": "https://evil.example"]), (.get, "/api/admin/inbox", nil),
            (.get, "/api/admin/inbox/wait?timeout=0", nil), (.post, "/api/admin/impersonate/users/\(user)", [:]),
            (.delete, "/api/collections/people", nil),
        ]
        let audit = try await server.audit()
        for (token, status, code) in hands {
            #expect(try await server.get("/api/admin/settings", token: token).status == 200)
            for (method, path, body) in requests {
                let refused = try await server.send(method, path, body, token: token)
                #expect((refused.status, refused.code) == (status, code), "\(method) \(path)")
            }
            // Before the body is looked at.
            let broken = try await server.send(.patch, "/api/admin/settings", token: token, raw: Array("{".utf8))
            #expect((broken.status, broken.code) == (status, code))
            let unlink = "/api/auth/_admins/oauth2/google/unlink"
            #expect(try await server.send(.delete, unlink, token: token).code == code)
        }
        #expect(try await server.audit() == audit)
        // The admin themselves, however long ago they logged in.
        server.clock.advance(seconds: 86_400)
        for (method, path, body) in requests {
            let reply = try await server.send(method, path, body, token: admin)
            #expect(reply.status == 200 || reply.code == "not_found", "\(method) \(path) \(reply.text)")
        }
    }

    @Test(arguments: Engine.available)
    func `a key neither lists nor ends sessions, nor changes what its user signs in by`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get(Self.me, token: token).data()["id"]?.text ?? ""
        let key = try await key(server, token)
        let requests: [(HTTPRequest.Method, String, JSON?)] = [
            (.get, "/api/auth/sessions", nil), (.delete, "/api/auth/sessions?scope=all", nil),
            (.delete, "/api/auth/sessions/\(id)", nil),
            (.patch, "/api/records/users/\(id)", ["username": "eve"]),
            (.patch, "/api/records/users/\(id)", ["email": "eve@example.org"]),
        ]
        for (method, path, body) in requests {
            let refused = try await server.send(method, path, body, token: key)
            #expect((refused.status, refused.code) == (403, "session_required"), "\(method) \(path)")
        }
        let fields: JSON = ["nick": "Countess", "username": .null]
        #expect(try await server.send(.patch, "/api/records/users/\(id)", fields, token: key).status == 200)
        #expect(try await server.get(Self.me, token: token).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a helping admin changes no username`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let id = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        let lent = try await server.post("/api/admin/impersonate/users/\(id)", [:], token: server.admin()).data()
        let path = "/api/records/users/\(id)"
        let refused = try await server.send(.patch, path, ["username": "eve"], token: lent["token"]?.text)
        #expect((refused.status, refused.code) == (403, "forbidden"))
    }

    /// The squatter has registered the address; its owner confirms it in some way, and then sets a new password.
    enum Confirmation: String, CaseIterable {
        case link, code, none
    }

    @Test(arguments: Engine.available, Confirmation.allCases)
    func `what was set up before the owner of an address came goes with their reset`(
        _ engine: Engine,
        _ confirmation: Confirmation
    ) async throws {
        let settings = ScriptedProvider.settings.merging(["auth.otp.enabled": "1"]) { _, own in own }
        let server = try await TestServer(engine, settings: settings, outbound: ScriptedProvider.client)
        let email = "victim@example.org"
        let token = try await server.signedUp(email)
        let key = try await key(server, token)
        let squatter = ScriptedProvider.Profile(subject: "squatter")
        let connect: JSON = [
            "provider": "google", "code": .string(ScriptedProvider.code(squatter)),
            "redirectUri": ScriptedProvider.redirectURI, "state": .string(try await server.state(token: token)),
        ]
        _ = try await server.post("/api/auth/users/oauth2/connect", connect, token: token).data()
        server.clock.advance(seconds: 60)
        switch confirmation {
        case .link:
            let link: JSON = ["token": .string(try await server.token(to: email, .verify))]
            _ = try await server.post("/api/auth/users/verify-email", link).data()
        case .code:
            _ = try await server.post("/api/auth/users/otp/request", ["email": .string(email)]).data()
            let link: JSON = ["token": .string(try await server.token(to: email, .otp))]
            _ = try await server.post("/api/auth/users/otp/auth", link).data()
            #expect(try await server.mail(to: email, .notice)["text"]?.text?.contains("signed in to otherwise") == true)
        case .none: break
        }
        server.clock.advance(seconds: 60)
        _ = try await server.post("/api/auth/users/request-password-reset", ["email": .string(email)]).data()
        let reset: JSON = [
            "token": .string(try await server.token(to: email, .reset)), "password": "a password of mine",
        ]
        _ = try await server.post("/api/auth/users/confirm-password-reset", reset).data()
        #expect(try await server.get(Self.me, token: key).status == 401)
        #expect(try await server.exchange(squatter).code == "oauth_profile_incomplete")
        // What the owner sets up stays with the next reset.
        let mine = try await server.signIn(email, password: "a password of mine")
        let own = try await self.key(server, mine)
        server.clock.advance(seconds: 60)
        _ = try await server.post("/api/auth/users/request-password-reset", ["email": .string(email)]).data()
        let again: JSON = [
            "token": .string(try await server.token(to: email, .reset)), "password": "another one of mine",
        ]
        _ = try await server.post("/api/auth/users/confirm-password-reset", again).data()
        #expect(try await server.get(Self.me, token: own).status == 200)
    }

    @Test(arguments: Engine.available)
    func `an account that a provider began with an address of somebody else's tells them so`(_ engine: Engine)
        async throws
    {
        let settings = ScriptedProvider.settings.merging(["auth.otp.enabled": "1"]) { _, own in own }
        let server = try await TestServer(engine, settings: settings, outbound: ScriptedProvider.client)
        _ = try await server.exchange(.init(subject: "squatter", email: "victim@example.org")).data()
        _ = try await server.post("/api/auth/users/otp/request", ["email": "victim@example.org"]).data()
        let link: JSON = ["token": .string(try await server.token(to: "victim@example.org", .otp))]
        _ = try await server.post("/api/auth/users/otp/auth", link).data()
        #expect(try await server.mails().contains("notice victim@example.org"))
    }

    @Test(arguments: Engine.available)
    func `keys that a leaked key has made go when an admin reassigns it, and others stay`(_ engine: Engine) async throws
    {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let system: JSON = ["kind": "system", "username": "nightly"]
        let id = try await server.post("/api/admin/users/users", system, token: admin).data()["id"]?.text ?? ""
        let path = "/api/users/\(id)"
        let leaked = try await server.post(path + "/api_key", token: admin).data()["api_key"]?.text ?? ""
        let named = try await key(server, admin, at: path + "/secrets")
        let child = try await key(server, leaked)
        let grandchild = try await key(server, child)
        // By itself it takes none along: a job may rotate its keys.
        let rotated = try await server.post("/api/users/me/api_key", token: leaked).data()["api_key"]?.text ?? ""
        for token in [named, child, grandchild, rotated] {
            #expect(try await server.get(Self.me, token: token).status == 200)
        }
        let new = try await server.post(path + "/api_key", token: admin).data()["api_key"]?.text
        for token in [rotated, child, grandchild] { #expect(try await server.get(Self.me, token: token).status == 401) }
        for token in [named, new] { #expect(try await server.get(Self.me, token: token).status == 200) }
    }

    @Test(arguments: Engine.available)
    func `notices are not to be had without end, and say nothing that a stranger has written`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let secrets = (0..<25).map { Hex.encode(Digest(of: "device \($0)").bytes) }
        for secret in secrets {
            let trust: JSON = ["type": "device", "secret": .string(secret), "name": "Win at https://evil.example"]
            _ = try await server.post(Self.mine, trust, token: token).data()
        }
        let mails = try await server.mails()
        #expect(mails.filter { $0 == "notice ada@example.org" }.count == Outbox.floodMax)
        #expect(try await server.mail(to: "ada@example.org", .notice)["text"]?.text?.contains("evil") == false)
        // What shuts the owner out is told all the same.
        let change: JSON = ["current_password": .string(TestServer.password), "password": "a new one of mine"]
        _ = try await server.post("/api/auth/users/change-password", change, token: token).data()
        #expect(try await server.mails().filter { $0 == "notice ada@example.org" }.count == Outbox.floodMax + 1)
    }

    @Test(arguments: ["line\u{2028}break", "para\u{2029}graph", "right\u{202E}left", "zero\u{200B}width", "tab\tbed"])
    func `the name of a secret is one plain line`(_ name: String) async throws {
        let server = try await TestServer(.sqlite)
        let token = try await server.signedUp("ada@example.org")
        let reply = try await server.post(Self.mine, ["type": "apikey", "name": .string(name)], token: token)
        #expect((reply.status, reply.code) == (422, "validation_failed"))
    }

    @Test(arguments: Engine.available)
    func `a guest has no password until they are promoted, and keeps no key of before`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.anonymous.enabled": "1"])
        let admin = try await server.admin()
        let guest = try await server.post("/api/auth/users/anonymous").data()
        let (token, id) = (guest["token"]?.text, guest["record"]?["id"]?.text ?? "")
        let password: JSON = ["type": "password", "secret": .string(TestServer.password)]
        #expect(try await server.post("/api/users/\(id)/secrets", password, token: admin).status == 422)
        let change: JSON = ["password": .string(TestServer.password)]
        #expect(try await server.send(.patch, "/api/admin/users/users/\(id)", change, token: admin).status == 422)
        #expect(try await server.send(.put, "/api/users/\(id)/secrets/password", change, token: admin).status == 422)
        let key = try await key(server, admin, at: "/api/users/\(id)/secrets")
        let account: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        #expect(try await server.post("/api/auth/users/promote", account, token: key).code == "session_required")
        _ = try await server.post("/api/auth/users/promote", account, token: token).data()
        #expect(try await server.get(Self.me, token: key).status == 401)
    }

    @Test(arguments: Engine.available)
    func `a new password prolongs no session`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.session.absolute_seconds": "3600"])
        try await server.signUp("ada@example.org")
        let start = server.clock.now
        let end = start.advanced(bySeconds: 600)
        let login: JSON = [
            "email": "ada@example.org", "password": .string(TestServer.password), "token_type": "opaque",
            "not_valid_after": end.json,
        ]
        let short = try await server.post("/api/auth/users/login", login).data()["token"]?.text
        let long = try await server.signIn("ada@example.org")
        server.clock.advance(seconds: 300)
        func change(_ token: String?, from old: String, to new: String) async throws -> JSON {
            let body: JSON = ["current_password": .string(old), "password": .string(new)]
            return try await server.post("/api/auth/users/change-password", body, token: token).data()
        }
        let first = try await change(short, from: TestServer.password, to: "a new one of mine")
        #expect(first["expires_at"] == end.json)
        #expect(try await server.get(Self.me, token: long).status == 401)
        let again = try await server.signIn("ada@example.org", password: "a new one of mine")
        server.clock.advance(seconds: 300)
        let second = try await change(again, from: "a new one of mine", to: "yet another of mine")
        #expect(second["expires_at"] == start.advanced(bySeconds: 3900).json)
        // Where it would have ended by now, nothing is changed.
        try await server.set(["auth.session.absolute_seconds": "60"])
        server.clock.advance(seconds: 61)
        let body: JSON = ["current_password": "yet another of mine", "password": "the last of mine"]
        let late = try await server.post("/api/auth/users/change-password", body, token: second["token"]?.text)
        #expect((late.status, late.code) == (401, "session_ended"))
        #expect(try await server.signIn("ada@example.org", password: "yet another of mine").isEmpty == false)
    }

    /// A request may be admitted long before its body has come.
    @Test(arguments: Engine.available)
    func `who was signed out meanwhile changes no password and is not promoted`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.anonymous.enabled": "1"])
        let client = Client(address: "192.0.2.1", userAgent: nil)
        func principal(_ token: String?) async throws -> Principal {
            let route = Route(.get, "/probe", .signedIn, "", gives: .any) { _ in .data(.null) }
            let header = Result<String?, any Error>.success("Bearer \(token ?? "")")
            let authenticator = server.app.responder.authenticator
            return try #require(try await authenticator.principal(authorization: header, for: route))
        }
        let guest = try await server.post("/api/auth/users/anonymous").data()["token"]?.text
        let ada = try await server.signedUp("ada@example.org")
        let (late, lateGuest) = (try await principal(ada), try await principal(guest))
        for token in [guest, ada] { _ = try await server.post("/api/auth/logout", token: token).data() }
        await #expect(throws: AuthError.self) {
            let body: JSON.Members = ["email": "eve@example.org", "password": "a good one of mine"]
            return try await server.app.guests.promote(body, by: lateGuest, from: client)
        }
        await #expect(throws: AuthError.self) {
            try await server.app.accounts.passwords.change(
                of: late,
                from: Secret(TestServer.password),
                to: Secret("a new one of mine"),
                from: client
            )
        }
        #expect(try await server.count("SELECT count(*) AS count FROM users WHERE anonymous") == 1)
        #expect(try await server.signIn("ada@example.org").isEmpty == false)
    }
}
