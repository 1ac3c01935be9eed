import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What holds for every way to sign in, since all of them end in one funnel.
@Suite struct SignInTests {
    /// A way in, once everything that it needs is there.
    enum Entry: String, CaseIterable {
        case password
        case passwordAndCode
        case mailedLink
        case mailedCode
        case recoveryCode
        case device
        case ticket
        case provider
    }

    private static let device = "9f2c7a41d8e35b06c1f48a7392de5b6047ac8e19f3d2b5607c4e81a9d36f0b25"
    private static let email: JSON = "ada@example.org"
    private static let settings = ScriptedProvider.settings.merging(["auth.otp.enabled": "1"]) { _, own in own }

    /// A request that signs in now, and the id of the user.
    private struct Prepared {
        let id: String
        let path: String
        let body: JSON.Members
    }

    private func prepared(_ entry: Entry, on server: TestServer) async throws -> Prepared {
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let password = JSON.string(TestServer.password)
        func ready(_ path: String, _ body: JSON.Members) -> Prepared {
            Prepared(id: id, path: "/api/auth/users/" + path, body: body)
        }
        switch entry {
        case .password: return ready("login", ["email": Self.email, "password": password])
        case .passwordAndCode:
            let totp = try await server.enrol(token).totp
            let code = JSON.string(totp.code(at: TOTP.step(at: server.clock.now)))
            return ready("login", ["email": Self.email, "password": password, "code": code])
        case .recoveryCode:
            let codes = try await server.enrol(token).codes
            return ready("login", ["email": Self.email, "password": .string(codes[0])])
        case .ticket:
            let totp = try await server.enrol(token).totp
            let first = try await server.post("/api/auth/users/login", ["email": Self.email, "password": password])
                .data()
            let code = JSON.string(totp.code(at: TOTP.step(at: server.clock.now)))
            return ready("login/mfa", ["mfa_token": first["mfa_token"] ?? .null, "code": code])
        case .mailedLink, .mailedCode:
            _ = try await server.post("/api/auth/users/otp/request", ["email": Self.email]).data()
            let mail = try await server.mail(to: "ada@example.org", .otp)
            return entry == .mailedLink
                ? ready("otp/auth", ["token": mail["token"] ?? .null])
                : ready("otp/auth", ["email": Self.email, "code": mail["code"] ?? .null])
        case .device:
            let trust: JSON = ["type": "device", "secret": .string(Self.device), "name": "phone"]
            _ = try await server.post("/api/users/me/secrets", trust, token: token).data()
            return ready("login/device", ["identity": Self.email, "secret": .string(Self.device)])
        case .provider:
            let profile = ScriptedProvider.Profile(subject: "1", email: "ada@example.org", isVerified: true)
            _ = try await server.exchange(profile).data()
            guard case .object(let body) = ScriptedProvider.body(profile) else { return ready("", [:]) }
            return ready("oauth2/exchange", body)
        }
    }

    private func sessions(_ server: TestServer) async throws -> Int {
        try await server.count("SELECT count(*) AS count FROM sessions WHERE kind = 'user'")
    }

    @Test(arguments: Engine.available, Entry.allCases)
    func `every way in gives either type of token`(_ engine: Engine, _ entry: Entry) async throws {
        for type in TokenType.allCases where entry != .ticket || type == .jwt {
            let server = try await TestServer(engine, settings: Self.settings, outbound: ScriptedProvider.client)
            let ready = try await prepared(entry, on: server)
            var body = ready.body
            if entry != .ticket { body["token_type"] = .string(type.rawValue) }
            let signIn = try await server.post(ready.path, .object(body)).data()
            #expect(signIn["token_type"]?.text == type.rawValue)
            #expect(signIn["token"]?.text?.hasPrefix("lk_at_") == (type == .opaque))
            #expect(try await server.get("/api/auth/me", token: signIn["token"]?.text).data()["id"]?.text == ready.id)
        }
    }

    @Test(arguments: Engine.available, Entry.allCases)
    func `nobody gets in by it who may not`(_ engine: Engine, _ entry: Entry) async throws {
        for status in ["suspended", "pending"] {
            let server = try await TestServer(engine, settings: Self.settings, outbound: ScriptedProvider.client)
            let ready = try await prepared(entry, on: server)
            let before = try await sessions(server)
            try await server.services.db.write { tx in
                // Past the admin's route, which would have killed what is under way: the funnel itself must refuse.
                if let id = UserID(rawValue: ready.id) { tx.announce(Topic.user(id)) }
                try tx.execute("UPDATE users SET status = \(status) WHERE id = \(ready.id)")
            }
            let refused = try await server.post(ready.path, .object(ready.body))
            #expect(refused.status == 401 || refused.code == "invalid_one_time_token", "\(refused.text)")
            #expect(try await sessions(server) == before)
        }
    }

    @Test(arguments: Engine.available, Entry.allCases)
    func `nobody gets in by it while the account is locked`(_ engine: Engine, _ entry: Entry) async throws {
        let server = try await TestServer(engine, settings: Self.settings, outbound: ScriptedProvider.client)
        let ready = try await prepared(entry, on: server)
        let before = try await sessions(server)
        let wrong: JSON = ["email": Self.email, "password": "wrong wrong"]
        for _ in 0..<10 { _ = try await server.post("/api/auth/users/login", wrong) }
        let refused = try await server.post(ready.path, .object(ready.body))
        #expect((refused.status, refused.code) == (429, "locked_out"))
        #expect(try await sessions(server) == before)
        server.clock.advance(seconds: 901)
        guard entry == .password || entry == .recoveryCode || entry == .device else { return }
        _ = try await server.post(ready.path, .object(ready.body)).data()
    }
}
