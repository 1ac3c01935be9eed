import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct UserSecretTests {
    private static let mine = "/api/users/me/secrets"

    private func ada(on server: TestServer) async throws -> (token: String, id: String) {
        let token = try await server.signedUp("ada@example.org")
        return (token, try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? "")
    }

    private func list(_ server: TestServer, _ token: String, _ path: String = mine) async throws -> [JSON] {
        guard case .array(let list) = try await server.get(path, token: token).data() else { return [] }
        return list
    }

    private func id(of type: String, _ server: TestServer, _ token: String) async throws -> String {
        try await list(server, token).first { $0["type"]?.text == type }?["id"]?.text ?? ""
    }

    private func code(_ totp: TOTP, on server: TestServer) -> JSON {
        .string(totp.code(at: TOTP.step(at: server.clock.now)))
    }

    @Test(arguments: Engine.available)
    func `a list names every kind and never tells a value`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        server.clock.advance(seconds: 1)
        let key = try await server.post(Self.mine, ["type": "apikey"], token: ada.token).data()["secret"]?.text ?? ""
        server.clock.advance(seconds: 1)
        let mfa = try await server.post(Self.mine, ["type": "mfa"], token: ada.token).data()
        let reply = try await server.get("/api/users/\(ada.id)/secrets", token: ada.token)
        let secrets = try await list(server, ada.token)
        #expect(secrets.compactMap { $0["type"]?.text } == ["password", "apikey", "mfa"])
        #expect(secrets.compactMap { $0["state"]?.text } == ["active", "active", "pending"])
        for value in [key, mfa["secret"]?.text ?? "-", "$argon2id$"] { #expect(!reply.text.contains(value)) }
        for secret in secrets {
            for member in ["id", "type", "name", "created_at", "last_used_at", "expires_at", "state"] {
                #expect(secret[member] != nil, "\(member)")
            }
            #expect(secret["hash"] == nil && secret["secret"] == nil)
            let one = try await server.get(Self.mine + "/\(secret["id"]?.text ?? "")", token: ada.token).data()
            #expect(one == secret)
        }
    }

    @Test(arguments: Engine.available)
    func `others' secrets are none of one's business, and an admin's are an admin's`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let eve = try await server.signedUp("eve@example.org")
        let admin = try await server.admin()
        let path = "/api/users/\(ada.id)/secrets"
        let password = try await id(of: "password", server, ada.token)
        for (method, path, body) in [
            (.get, path, nil), (.get, path + "/\(password)", nil), (.post, path, ["type": "apikey"]),
            (.delete, path + "/\(password)", nil), (.put, path + "/password", ["password": "another good one"]),
            (.post, "/api/users/\(ada.id)/api_key", nil), (.post, path + "/\(password)/enroll", ["code": "123456"]),
        ] as [(HTTPRequest.Method, String, JSON?)] {
            #expect(try await server.send(method, path, body, token: eve).code == "forbidden", "\(path)")
            #expect(try await server.send(method, path, body).code == "unauthenticated", "\(path)")
        }
        #expect(try await list(server, admin, path).count == 1)
        let unknown = "/api/users/\(UserID(at: server.clock.now, random: .system))/secrets"
        #expect(try await server.get(unknown, token: admin).code == "not_found")
        #expect(try await server.get("/api/users/nonsense/secrets", token: admin).code == "not_found")
        #expect(try await server.get(Self.mine + "/\(password)", token: eve).code == "not_found")
    }

    @Test(arguments: Engine.available)
    func `there is one password, which is replaced and not removed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let body: JSON = ["type": "password", "secret": "another good one"]
        let second = try await server.post(Self.mine, body, token: ada.token)
        #expect((second.status, second.code) == (409, "secret_exists"))
        let removal = try await server.send(
            .delete,
            Self.mine + "/\(try await id(of: "password", server, ada.token))",
            token: ada.token
        )
        #expect((removal.status, removal.code) == (409, "last_way_in"))
        let path = Self.mine + "/password"
        let wrong: JSON = ["current_password": "wrong wrong", "password": "another good one"]
        #expect(try await server.send(.put, path, wrong, token: ada.token).code == "invalid_credentials")
        #expect(try await server.send(.put, path, ["password": "another good one"], token: ada.token).status == 422)
        let right: JSON = ["current_password": .string(TestServer.password), "secret": "another good one"]
        let replaced = try await server.send(.put, path, right, token: ada.token).data()
        #expect((replaced["type"], replaced["token_type"]) == ("password", "jwt"))
        #expect(replaced["expires_at"] == server.clock.now.advanced(bySeconds: 604_800).json)
        #expect(try await server.get("/api/auth/me", token: ada.token).code == "session_ended")
        #expect(try await server.get("/api/auth/me", token: replaced["token"]?.text).status == 200)
        let admin = try await server.admin()
        let byAdmin: JSON = ["password": "a third good one"]
        let path2 = "/api/users/\(ada.id)/secrets/password"
        #expect(try await server.send(.put, path2, byAdmin, token: admin).data()["type"] == "password")
        _ = try await server.signIn("ada@example.org", password: "a third good one")
        #expect(try await server.send(.put, path2, ["password": "short"], token: admin).details?["password"] != nil)
    }

    @Test(arguments: Engine.available)
    func `who has no password can be given one`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        try await server.services.db.run("DELETE FROM secrets WHERE user_id = \(ada.id)")
        let body: JSON = ["type": "password", "secret": "another good one"]
        let short = try await server.post(Self.mine, ["type": "password", "secret": "short"], token: ada.token)
        #expect(short.details?["secret"] != nil)
        server.clock.advance(seconds: 600)
        #expect(try await server.post(Self.mine, body, token: ada.token).code == "reauthentication_required")
        let admin = try await server.admin()
        let made = try await server.post("/api/users/\(ada.id)/secrets", body, token: admin).data()
        #expect((made["type"], made["secret"]) == ("password", nil))
        #expect(try await server.signIn("ada@example.org", password: "another good one") != "")
        #expect(try await server.audit().contains("password.set"))
    }

    @Test(arguments: Engine.available)
    func `a second factor is enrolled as a secret, and removed as one`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let former = try await server.post(Self.mine, ["type": "mfa"], token: ada.token).data()["id"]?.text ?? ""
        let made = try await server.post(Self.mine, ["type": "mfa"], token: ada.token).data()
        let totp = try #require(TOTP(secret: made["secret"]?.text ?? ""))
        #expect(made["otpauth_url"]?.text?.hasPrefix("otpauth://totp/") == true)
        #expect(made["qr_svg"]?.text?.hasPrefix("<svg") == true)
        func enroll(_ id: String) -> String { Self.mine + "/\(id)/enroll" }
        let id = made["id"]?.text ?? ""
        let right: JSON = ["code": code(totp, on: server)]
        #expect(try await server.send(.put, enroll(former), right, token: ada.token).code == "not_found")
        #expect(try await server.post(enroll(id), ["code": "12"], token: ada.token).status == 422)
        let admin = try await server.admin()
        let path = "/api/users/\(ada.id)/secrets"
        #expect(try await server.post(path + "/\(id)/enroll", right, token: admin).code == "forbidden")
        #expect(try await server.post(path, ["type": "mfa"], token: admin).code == "forbidden")
        let enrolled = try await server.send(.put, enroll(id), ["token": code(totp, on: server)], token: ada.token)
            .data()
        #expect((enrolled["state"], enrolled["type"]) == ("active", "mfa"))
        guard case .array(let codes)? = enrolled["codes"] else { throw Reply.Unexpected(description: "no codes") }
        #expect(codes.count == 10)
        let secrets = try await list(server, ada.token)
        #expect(secrets.filter { $0["type"] == "backup" && $0["state"] == "active" }.count == 10)
        #expect(try await server.post(enroll(id), right, token: ada.token).code == "mfa_enabled")
        server.clock.advance(seconds: 600)
        let removal = Self.mine + "/\(id)"
        #expect(try await server.send(.delete, removal, token: ada.token).code == "reauthentication_required")
        let factor = [HTTPField.Name("X-MFA-Code")!: totp.code(at: TOTP.step(at: server.clock.now))]
        _ = try await server.send(.delete, removal, token: ada.token, headers: factor).data()
        #expect(try await list(server, ada.token).map { $0["type"] } == ["password"])
        #expect(try await server.audit().contains("mfa.disabled"))
    }

    @Test(arguments: Engine.available)
    func `a set-up that was not confirmed is simply removed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let id = try await server.post(Self.mine, ["type": "mfa"], token: ada.token).data()["id"]?.text ?? ""
        _ = try await server.send(.delete, Self.mine + "/\(id)", token: ada.token).data()
        #expect(try await server.mails() == ["verify ada@example.org"])
        #expect(try await server.audit().suffix(1) == ["secret.removed"])
    }

    @Test(arguments: Engine.available)
    func `a spent recovery code is told as used`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let made = try await server.post(Self.mine, ["type": "mfa"], token: ada.token).data()
        let totp = try #require(TOTP(secret: made["secret"]?.text ?? ""))
        let path = Self.mine + "/\(made["id"]?.text ?? "")/enroll"
        let enrolled = try await server.post(path, ["code": code(totp, on: server)], token: ada.token).data()
        guard case .array(let codes)? = enrolled["codes"] else { throw Reply.Unexpected(description: "no codes") }
        let token = try await server.signIn("ada@example.org", password: codes[0].text ?? "")
        let states = try await list(server, token).filter { $0["type"] == "backup" }.compactMap { $0["state"]?.text }
        #expect(states.filter { $0 == "used" }.count == 1)
        #expect(states.filter { $0 == "active" }.count == 9)
    }

    @Test(arguments: Engine.available)
    func `adding a credential needs a fresh session, removing a key does not`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let key = try await server.post(Self.mine, ["type": "apikey"], token: ada.token).data()["id"]?.text ?? ""
        server.clock.advance(seconds: 600)
        for body: JSON in [["type": "apikey"], ["type": "mfa"]] {
            let refused = try await server.post(Self.mine, body, token: ada.token)
            #expect((refused.status, refused.code) == (401, "reauthentication_required"))
        }
        #expect(
            try await server.post("/api/users/me/api_key", token: ada.token).code == "reauthentication_required"
        )
        _ = try await server.send(.delete, Self.mine + "/\(key)", token: ada.token).data()
        let again = try await server.send(.delete, Self.mine + "/\(key)", token: ada.token)
        #expect((again.status, again.code) == (404, "not_found"))
    }

    @Test(arguments: Engine.available)
    func `who must have a second factor can only add that`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.mfa.required": "all"])
        let ada = try await ada(on: server)
        #expect(try await server.post(Self.mine, ["type": "apikey"], token: ada.token).code == "mfa_enrolment_required")
        let made = try await server.post(Self.mine, ["type": "mfa"], token: ada.token).data()
        let totp = try #require(TOTP(secret: made["secret"]?.text ?? ""))
        let path = Self.mine + "/\(made["id"]?.text ?? "")/enroll"
        _ = try await server.post(path, ["code": code(totp, on: server)], token: ada.token).data()
        _ = try await server.post(Self.mine, ["type": "apikey"], token: ada.token).data()
        try await server.set(["auth.mfa.enabled": "0", "auth.mfa.required": "off"])
        #expect(try await server.post(Self.mine, ["type": "mfa"], token: ada.token).code == "feature_disabled")
    }

    @Test(arguments: Engine.available)
    func `bad input is told by field`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let cases: [(JSON, String)] = [
            ([:], "type"), (["type": "backup"], "type"), (["type": 5], "type"), (["type": "password"], "secret"),
            (["type": "apikey", "secret": ["x"]], "secret"), (["type": "apikey", "secret": "short"], "secret"),
            (["type": "apikey", "name": "two\nlines"], "name"),
            (["type": "apikey", "name": .string(String(repeating: "x", count: 101))], "name"),
            (["type": "apikey", "expires_at": "yesterday"], "expires_at"),
            (["type": "apikey", "expires_at": "2020-01-01T00:00:00Z"], "expires_at"),
            (["type": "apikey", "scopes": "users:read"], "scopes"), (["type": "apikey", "scopes": ["root"]], "scopes"),
            (["type": "apikey", "scopes": [5]], "scopes"), (["type": "device", "name": "x"], "secret"),
        ]
        for (body, key) in cases {
            let refused = try await server.post(Self.mine, body, token: ada.token)
            #expect(refused.status == 422, "\(body)")
            #expect(refused.details?[key] != nil, "\(body) \(refused.text)")
        }
        #expect(try await list(server, ada.token).count == 1)
    }
}
