import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct DeviceTests {
    private static let mine = "/api/users/me/secrets"
    private static let login = "/api/auth/users/login/device"
    private static let secret = "9f2c7a41d8e35b06c1f48a7392de5b6047ac8e19f3d2b5607c4e81a9d36f0b25"

    private func ada(on server: TestServer) async throws -> (token: String, id: String) {
        let token = try await server.signedUp("ada@example.org")
        return (token, try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? "")
    }

    private static let device: JSON = ["type": "device", "secret": .string(secret), "name": "Ada's phone"]
    private static let credentials: JSON = ["identity": "ada@example.org", "secret": .string(secret)]

    @Test(arguments: Engine.available)
    func `a trusted device signs in with no password and no code`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let trusted = try await server.post(Self.mine, Self.device, token: ada.token).data()
        #expect((trusted["type"], trusted["name"], trusted["secret"]) == ("device", "Ada's phone", nil))
        let notice = try await server.mail(to: "ada@example.org", .notice)["text"]?.text
        #expect(notice?.contains("a trusted device") == true)
        let signIn = try await server.post(Self.login, Self.credentials).data()
        let token = signIn["token"]?.text
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["device"])
        let listed = try await server.get(Self.mine + "/\(trusted["id"]?.text ?? "")", token: ada.token).data()
        #expect(listed["last_used_at"] == server.clock.now.json)
        let opaque = try await server.post(Self.login, Self.credentials.with("token_type", "opaque")).data()
        #expect(opaque["token_type"] == "opaque")
        let hash: [String] = try await server.services.db.read { tx in
            try tx.all("SELECT hash FROM secrets WHERE type = 'device'").map { try $0.get("hash") }
        }
        #expect(hash.count == 1 && hash[0].hasPrefix("$argon2id$"))
    }

    @Test(arguments: Engine.available)
    func `it is exempt from the second factor, but no proof of a person`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let totp = try await server.enrol(ada.token).totp
        func code() -> JSON { .string(totp.code(at: TOTP.step(at: server.clock.now))) }
        _ = try await server.post(Self.mine, Self.device, token: ada.token).data()
        let signIn = try await server.post(Self.login, Self.credentials).data()
        #expect(signIn["mfa_required"] == nil)
        let token = signIn["token"]?.text
        let sensitive: [(HTTPRequest.Method, String, JSON?)] = [
            (.post, Self.mine, ["type": "apikey"]), (.delete, "/api/records/users/\(ada.id)", nil),
            (.patch, "/api/records/users/\(ada.id)", ["email": "new@example.org"]),
            (.post, Self.mine, Self.device.with("secret", .string(String(Self.secret.reversed())))),
        ]
        for (method, path, body) in sensitive {
            let refused = try await server.send(method, path, body, token: token)
            #expect((refused.status, refused.code) == (401, "reauthentication_required"), "\(path)")
        }
        _ = try await server.post("/api/auth/reauthenticate", ["code": code()], token: token).data()
        _ = try await server.post(Self.mine, ["type": "apikey"], token: token).data()
    }

    @Test(arguments: Engine.available)
    func `a password that is changed from its session asks for the second factor`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        _ = try await server.enrol(ada.token)
        _ = try await server.post(Self.mine, Self.device, token: ada.token).data()
        let token = try await server.post(Self.login, Self.credentials).data()["token"]?.text
        let change: JSON = ["current_password": .string(TestServer.password), "password": "another good one"]
        let changed = try await server.post("/api/auth/users/change-password", change, token: token).data()
        #expect((changed["mfa_required"], changed["token"]) == (true, nil))
    }

    @Test(arguments: Engine.available)
    func `trusting one needs a fresh session at the highest level`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        server.clock.advance(seconds: 600)
        #expect(try await server.post(Self.mine, Self.device, token: ada.token).code == "reauthentication_required")
        let fresh = try await server.signIn("ada@example.org")
        let easy = Self.device.with("secret", "0123456789abcdef0123456789abcdef")
        #expect(try await server.post(Self.mine, easy, token: fresh).details?["secret"] != nil)
        let nameless: JSON = ["type": "device", "secret": .string(Self.secret)]
        #expect(try await server.post(Self.mine, nameless, token: fresh).details?["name"] == "is required")
        let admin = try await server.admin()
        let other = try await server.post("/api/users/\(ada.id)/secrets", Self.device, token: admin)
        #expect((other.status, other.code) == (403, "forbidden"))
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE type = 'device'") == 0)
    }

    @Test(arguments: Engine.available)
    func `a new password and a changed second factor end every device`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        func isTrusted() async throws -> Bool { try await server.post(Self.login, Self.credentials).status == 200 }
        _ = try await server.post(Self.mine, Self.device, token: ada.token).data()
        #expect(try await isTrusted())
        let change: JSON = ["current_password": .string(TestServer.password), "password": .string(TestServer.password)]
        let token = try await server.post("/api/auth/users/change-password", change, token: ada.token).data()["token"]?
            .text
        #expect(try await !isTrusted())
        _ = try await server.post(Self.mine, Self.device, token: token).data()
        let setUp = try await server.post("/api/auth/users/totp/setup", token: token).data()
        #expect(try await isTrusted())
        let totp = try #require(TOTP(secret: setUp["secret"]?.text ?? ""))
        let code: JSON = ["code": .string(totp.code(at: TOTP.step(at: server.clock.now)))]
        _ = try await server.post("/api/auth/users/totp/confirm", code, token: token).data()
        #expect(try await !isTrusted())
        _ = try await server.post(Self.mine, Self.device, token: token).data()
        #expect(try await isTrusted())
        let admin = try await server.admin()
        _ = try await server.post("/api/admin/users/users/\(ada.id)/disable-mfa", token: admin).data()
        #expect(try await !isTrusted())
    }

    @Test(arguments: Engine.available)
    func `a device that is removed is signed out, and others are not`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let device = try await server.post(Self.mine, Self.device, token: ada.token).data()["id"]?.text ?? ""
        let token = try await server.post(Self.login, Self.credentials).data()["token"]?.text
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
        _ = try await server.send(.delete, Self.mine + "/\(device)", token: ada.token).data()
        let refused = try await server.get("/api/auth/me", token: token)
        #expect((refused.code, refused.details?["reason"]) == ("session_ended", "revoked"))
        #expect(try await server.get("/api/auth/me", token: ada.token).status == 200)
        #expect(try await server.post(Self.login, Self.credentials).code == "invalid_credentials")
    }

    @Test(arguments: Engine.available)
    func `an unknown name and a wrong secret get one answer, and lock alike`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        _ = try await server.post(Self.mine, Self.device, token: ada.token).data()
        var answers: Set<String> = []
        for name in ["ada@example.org", "nobody@example.org"] {
            let body: JSON = ["identity": .string(name), "secret": .string(String(Self.secret.reversed()))]
            for _ in 0..<10 {
                let refused = try await server.post(Self.login, body)
                answers.insert("\(refused.status) \(refused.code ?? "") \(refused.error ?? "")")
            }
            #expect(try await server.post(Self.login, body.with("secret", .string(Self.secret))).status == 429)
        }
        #expect(answers == ["401 invalid_credentials The name or the secret is wrong."])
    }

    @Test(arguments: Engine.available)
    func `two accounts on one device may have the same secret`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let eve = try await server.signedUp("eve@example.org")
        for token in [ada.token, eve] { _ = try await server.post(Self.mine, Self.device, token: token).data() }
        let again = try await server.post(Self.mine, Self.device, token: eve)
        #expect((again.status, again.code) == (409, "value_taken"))
        for name in ["ada@example.org", "eve@example.org"] {
            let signIn = try await server.post(Self.login, Self.credentials.with("identity", .string(name))).data()
            #expect(signIn["record"]?["email"]?.text == name)
        }
    }
}
