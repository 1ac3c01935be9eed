import Crypto
import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// Whose account a provider's is, and what becomes of what the account had.
@Suite struct OAuthLinkingTests {
    typealias Profile = ScriptedProvider.Profile

    private func id(_ reply: Reply) throws -> String { try reply.data()["record"]?["id"]?.text ?? "" }

    @Test(arguments: Engine.available)
    func `a new person gets an account without a password, and it is theirs the next time`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer.withProvider(engine)
        let ada = Profile(subject: "1", email: "Ada@Example.org", isVerified: true)
        let first = try await server.exchange(ada)
        let record = try #require(try first.data()["record"])
        #expect(record["email"] == "Ada@Example.org" && record["email_verified"] == true)
        let token = try first.data()["token"]?.text
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["fed"])
        #expect(
            try await server.get("/api/users/me/secrets", token: token).data() == []
        )
        // Another address by now: the subject counts.
        let moved = try await server.exchange(Profile(subject: "1", email: "lovelace@example.org", isVerified: true))
        #expect(try id(moved) == id(first))
        #expect(try moved.data()["record"]?["email"] == "Ada@Example.org")
        #expect(try await server.users() == 1)
        #expect(
            try await server.audit().suffix(4) == [
                "user.registered", "identity.linked", "sign_in.succeeded", "sign_in.succeeded",
            ]
        )
        #expect(try await server.mails() == [])
    }

    @Test(arguments: Engine.available)
    func `an unverified address is the new account's, and has to be confirmed`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let reply = try await server.exchange(Profile(subject: "1", email: "ada@example.org"))
        #expect(try reply.data()["record"]?["email_verified"] == false)
        #expect(try await server.mails() == ["verify ada@example.org"])
    }

    @Test(arguments: Engine.available)
    func `an unverified address that is taken links nothing and writes nothing`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        try await server.signUp("ada@example.org")
        let (audit, mails) = (try await server.audit(), try await server.mails())
        let reply = try await server.exchange(Profile(subject: "1", email: "ADA@example.org"))
        #expect((reply.status, reply.code) == (409, "email_taken"))
        #expect(try await server.identities() == 0)
        #expect(try await server.audit() == audit + ["sign_in.failed"])
        #expect(try await server.mails() == mails)
    }

    @Test(arguments: Engine.available)
    func `a verified address is linked to its user, who keeps everything when it was verified here too`(
        _ engine: Engine
    )
        async throws
    {
        let server = try await TestServer.withProvider(engine)
        let token = try await server.signedUp("ada@example.org")
        _ = try await server.post(
            "/api/auth/users/verify-email",
            ["token": .string(try await server.token(to: "ada@example.org", .verify))]
        ).data()
        let reply = try await server.exchange(Profile(subject: "1", email: "ada@example.org", isVerified: true))
        let me = try await server.get("/api/auth/me", token: token).data()
        #expect(try id(reply) == me["id"]?.text)
        #expect(try await server.signIn("ada@example.org").isEmpty == false)
        #expect(try await server.mails().contains("notice ada@example.org"))
        #expect(try await server.audit().contains("account.claimed") == false)
    }

    @Test(arguments: Engine.available)
    func `of an account that was laid for the owner, nothing opens it any more`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, ["auth.otp.enabled": "1"])
        // The squatter gathers whatever there is.
        let email: JSON = "victim@example.org"
        let token = try await server.signedUp("victim@example.org")
        let key = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: token).data()
        let device = "9f2c7a41d8e35b06c1f48a7392de5b6047ac8e19f3d2b5607c4e81a9d36f0b25"
        let trust: JSON = ["type": "device", "secret": .string(device), "name": "phone"]
        _ = try await server.post("/api/users/me/secrets", trust, token: token).data()
        let connect: JSON = .object(
            [
                "provider": "discord", "code": .string(ScriptedProvider.code(Profile(subject: "squatter"))),
                "redirectUri": ScriptedProvider.redirectURI,
                "state": .string(try await server.state(at: "discord", token: token)),
            ]
        )
        _ = try await server.post("/api/auth/users/oauth2/connect", connect, token: token).data()
        _ = try await server.post("/api/auth/users/request-password-reset", ["email": email]).data()
        let reset = try await server.token(to: "victim@example.org", .reset)
        _ = try await server.post("/api/auth/users/otp/request", ["email": email]).data()
        let link = try await server.token(to: "victim@example.org", .otp)
        let verify = try await server.token(to: "victim@example.org", .verify)
        let recovery = try await server.enrol(token).codes

        let reply = try await server.exchange(Profile(subject: "owner", email: "victim@example.org", isVerified: true))
        let mine = try #require(try reply.data()["token"]?.text)
        #expect(try await server.get("/api/auth/me", token: mine).data()["mfa_enabled"] == false)

        for stolen in [token, key["secret"]?.text] {
            #expect(try await server.get("/api/auth/me", token: stolen).status == 401)
        }
        #expect(try await server.post("/api/auth/refresh", token: token).status == 401)
        for password in [TestServer.password, recovery[0]] {
            let login: JSON = ["email": email, "password": .string(password)]
            #expect(try await server.post("/api/auth/users/login", login).status == 401)
        }
        let byDevice: JSON = ["identity": email, "secret": .string(device)]
        #expect(try await server.post("/api/auth/users/login/device", byDevice).status == 401)
        let byProvider = try await server.exchange(Profile(subject: "squatter"), at: "discord")
        #expect(byProvider.code == "oauth_profile_incomplete")
        let change: JSON = ["token": .string(reset), "password": "a password of mine"]
        #expect(try await server.post("/api/auth/users/confirm-password-reset", change).status == 400)
        #expect(try await server.post("/api/auth/users/otp/auth", ["token": .string(link)]).status == 400)
        #expect(try await server.post("/api/auth/users/verify-email", ["token": .string(verify)]).status == 400)
        let owner = try await server.count("SELECT count(*) AS count FROM secrets")
        #expect(owner == 0)
        #expect(try await server.identities() == 1)
        #expect(try await server.audit().contains("account.claimed"))
        #expect(
            try await server.mail(to: "victim@example.org", .notice)["subject"]?.text?.contains("confirmed") == true
        )
    }

    @Test(arguments: Engine.available)
    func `an address that was given to somebody else does not take over the account`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        _ = try await server.exchange(Profile(subject: "1", email: "ada@example.org", isVerified: true)).data()
        let reply = try await server.exchange(Profile(subject: "2", email: "ada@example.org", isVerified: true))
        #expect((reply.status, reply.code) == (409, "provider_already_linked"))
        // Another provider's word is as good as the first one's.
        let other = Profile(subject: "2", email: "ada@example.org", isVerified: true)
        _ = try await server.exchange(other, at: "discord").data()
        #expect(try await server.users() == 1)
    }

    @Test(arguments: Engine.available)
    func `a squatter's link of the same provider doesn't keep the owner out`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let token = try await server.signedUp("victim@example.org")
        let connect: JSON = [
            "provider": "google", "code": .string(ScriptedProvider.code(Profile(subject: "squatter"))),
            "redirectUri": ScriptedProvider.redirectURI, "state": .string(try await server.state(token: token)),
        ]
        _ = try await server.post("/api/auth/users/oauth2/connect", connect, token: token).data()
        let owner = Profile(subject: "owner", email: "victim@example.org", isVerified: true)
        _ = try await server.exchange(owner).data()
        #expect(try await server.get("/api/auth/me", token: token).status == 401)
        #expect(try await server.exchange(Profile(subject: "squatter")).code == "oauth_profile_incomplete")
        #expect(try await server.identities() == 1)
    }

    @Test(arguments: Engine.available)
    func `another host in place of the provider's own has other people`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let seven = Profile(subject: "7", email: "ada@example.org", isVerified: true)
        let first = try id(try await server.exchange(seven))
        try await server.set(["oauth2.google.token_url": "https://other.example/token"])
        let stranger = Profile(subject: "7", email: "eve@example.org", isVerified: true)
        #expect(try id(try await server.exchange(stranger)) != first)
        // Who has the address there too is who they were.
        #expect(
            try id(try await server.exchange(Profile(subject: "8", email: "ada@example.org", isVerified: true)))
                == first
        )
        #expect(try await server.identities() == 3)
    }

    @Test func `a landing leads only where the list says`() async throws {
        let key = P256.Signing.PrivateKey().pemRepresentation
        let apple: [String: String?] = [
            "oauth2.apple.enabled": "1", "oauth2.apple.client_id": "com.example.web", "oauth2.apple.team_id": "TEAM",
            "oauth2.apple.key_id": "KEY", "oauth2.apple.private_key": key, "app.url": "https://auth.example.com",
        ]
        let server = try await TestServer.withProvider(.sqlite, apple)
        func authorize(_ provider: String, _ uri: String) async throws -> Reply {
            let query = "provider=\(provider)&landing=1&state=s\(Hex.encode(Random.system.bytes(8)))&redirectUri=\(uri)"
            return try await server.get("/api/auth/users/oauth2/authorize?\(query)")
        }
        let open = try await authorize("apple", "https://evil.example/cb")
        #expect(open.details?["landing"]?.text?.contains("allowed_redirect_uris") == true)
        try await server.set(["oauth2.allowed_redirect_uris": "https://app.example.com/cb"])
        #expect(try await authorize("apple", "https://evil.example/cb").status == 422)
        #expect(try await authorize("google", "https://app.example.com/cb").status == 422)
        let going = try await authorize("apple", "https://app.example.com/cb").data()
        let posted: JSON = ["state": going["state"] ?? .null, "code": "c"]
        let path = "/api/auth/users/oauth2/apple/landing"
        let landed = try await server.post(path, posted)
        #expect(landed.status == 303)
        #expect(landed.headers[.location]?.hasPrefix("https://app.example.com/cb?code=c&state=") == true)
        // Nor where it no longer says so.
        try await server.set(["oauth2.allowed_redirect_uris": "https://other.example.com/cb"])
        #expect(try await server.post(path, posted).status == 400)
        try await server.set(["oauth2.allowed_redirect_uris": nil])
        #expect(try await server.post(path, posted).status == 400)
    }

    @Test(arguments: Engine.available)
    func `an admin is never linked by an address, nor made`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        _ = try await server.admin()
        let root = Profile(subject: "1", email: TestServer.adminEmail, isVerified: true)
        let asked = try await server.exchange(root, in: "_admins").data()
        #expect(asked["merge_required"] == true && asked["token"] == nil)
        let stranger = try await server.exchange(
            Profile(subject: "2", email: "eve@example.org", isVerified: true),
            in: "_admins"
        )
        #expect((stranger.status, stranger.code) == (403, "forbidden"))
        let merge: JSON = ["merge_token": asked["merge_token"] ?? .null, "password": .string(TestServer.password)]
        _ = try await server.post("/api/auth/_admins/oauth2/merge-confirm", merge).data()
        let again = try await server.exchange(root, in: "_admins").data()
        let list = try await server.get("/api/admin/admins", token: again["token"]?.text)
        #expect(list.status == 200)
    }

    @Test(arguments: Engine.available)
    func `the last way in stays`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let token = try await server.exchange(ada).data()["token"]?.text
        func unlink(_ provider: String) async throws -> Reply {
            try await server.send(.delete, "/api/auth/users/oauth2/\(provider)/unlink", token: token)
        }
        #expect(try await unlink("discord").status == 404)
        #expect(try await unlink("google").code == "last_way_in")
        _ = try await server.exchange(ada, at: "discord").data()
        let other = try await server.exchange(ada, at: "discord").data()["token"]?.text
        #expect(try await unlink("google").data() == ["unlinked": "google"])
        // What a provider has begun ends elsewhere, and goes on here.
        #expect(try await server.get("/api/auth/me", token: other).status == 401)
        #expect(try await server.get("/api/auth/users/oauth2/links", token: token).data() != [])
        #expect(try await unlink("discord").code == "last_way_in")
        let password: JSON = ["type": "password", "secret": .string(TestServer.password)]
        let secret = try await server.post("/api/users/me/secrets", password, token: token).data()
        #expect(try await unlink("discord").status == 200)
        // Without another way, the password stays.
        let path = "/api/users/me/secrets/\(secret["id"]?.text ?? "")"
        #expect(try await server.send(.delete, path, token: token).code == "last_way_in")
    }

    @Test(arguments: Engine.available)
    func `fields of a new account are validated as on registration`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let fields: JSON = [
            "name": "people",
            "fields": [
                ["name": "name", "type": "text", "required": true],
                ["name": "age", "type": "number", "required": true],
            ],
        ]
        _ = try await server.post("/api/collections", fields, token: server.admin())
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true, name: "Ada")
        let missing = try await server.exchange(ada, in: "people")
        #expect(missing.details == ["age": "is required"])
        for wrong: JSON in [
            ["age": "old"], ["age": 1, "email": "eve@example.org"], ["age": 1, "password": "x"], ["age": 1, "id": "1"],
        ] {
            #expect(try await server.exchange(ada, in: "people", record: wrong).status == 422)
        }
        #expect(try await server.users() == 1)
        let record = try await server.exchange(ada, in: "people", record: ["age": 36]).data()["record"]
        #expect(record?["name"] == "Ada" && record?["age"] == 36)
    }

    @Test(arguments: Engine.available)
    func `where only admins make accounts, a provider makes none`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let staff: JSON = ["name": "staff", "fields": [], "options": ["registration": false]]
        _ = try await server.post("/api/collections", staff, token: server.admin())
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let refused = try await server.exchange(ada, in: "staff")
        #expect((refused.status, refused.code) == (403, "forbidden"))
        let made: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        _ = try await server.post("/api/admin/users/staff", made, token: server.admin())
        _ = try await server.exchange(ada, in: "staff").data()
    }

    @Test(arguments: Engine.available)
    func `a removed account takes its links along`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let first = try id(try await server.exchange(ada))
        _ = try await server.send(.delete, "/api/admin/users/users/\(first)", token: server.admin())
        #expect(try await server.identities() == 0)
        #expect(try id(try await server.exchange(ada)) != first)
    }
}
