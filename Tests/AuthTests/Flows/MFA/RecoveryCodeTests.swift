import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What stands for a lost authenticator.
@Suite struct RecoveryCodeTests {
    private static let regenerate = "/api/auth/users/totp/recovery/regenerate"
    private static let status = "/api/auth/users/totp/recovery/status"
    private static let login = "/api/auth/users/login"
    private static let finish = "/api/auth/users/login/mfa"
    private static let credentials: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]

    private func with(_ ticket: JSON, _ factor: JSON) -> JSON { factor.with("mfa_token", ticket) }

    @Test(arguments: Engine.available)
    func `a recovery code stands for a lost authenticator, once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let spelled: JSON = ["recovery_code": .string(ada.codes[3].uppercased())]
        let signIn = try await server.post(Self.finish, with(try await server.ticket(), spelled)).data()
        let token = signIn["token"]?.text
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["pwd", "recovery", "mfa"])
        #expect(try await server.get(Self.status, token: token).data() == ["total": 10, "remaining": 9])
        #expect(try await server.post(Self.finish, with(try await server.ticket(), spelled)).status == 401)
        let stored = try await server.services.db.read { tx in
            try tx.all("SELECT hash FROM secrets WHERE type = 'backup'").map { try $0.get("hash", as: String.self) }
        }
        #expect(stored.count == 10 && stored.allSatisfy { $0.hasPrefix("$argon2id$") })
    }

    @Test(arguments: Engine.available)
    func `new codes take the place of the old, by a code or a session that has just shown one`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let byFresh = try await server.post(Self.regenerate, [:], token: ada.token).data()
        guard case .array(let codes)? = byFresh["codes"] else { throw Reply.Unexpected(description: "no codes") }
        let old: JSON = ["recovery_code": .string(ada.codes[0])]
        #expect(try await server.post(Self.finish, with(try await server.ticket(), old)).status == 401)
        let new: JSON = ["recovery_code": codes[0]]
        _ = try await server.post(Self.finish, with(try await server.ticket(), new)).data()
        server.clock.advance(seconds: 601)
        #expect(try await server.post(Self.regenerate, [:], token: ada.token).status == 422)
        #expect(try await server.post(Self.regenerate, ["code": "000000"], token: ada.token).status == 401)
        _ = try await server.post(Self.regenerate, server.code(of: ada.totp), token: ada.token).data()
        #expect(try await server.get(Self.status, token: ada.token).data() == ["total": 10, "remaining": 10])
    }

    @Test(arguments: Engine.available)
    func `a recovery code works in place of the password, once, and its owner is told`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        server.clock.advance(seconds: 1)
        let body: JSON = ["email": "ada@example.org", "password": .string(ada.codes[0].uppercased())]
        let signIn = try await server.post(Self.login, body).data()
        #expect(try await server.get("/api/auth/me", token: signIn["token"]?.text).data()["amr"] == ["recovery"])
        #expect(
            try await server.mail(to: "ada@example.org", .notice)["subject"] == "A recovery code was used to sign in"
        )
        let again = try await server.post(Self.login, body)
        #expect((again.status, again.code) == (401, "invalid_credentials"))
        try await server.set(["auth.mfa.backup_login.enabled": "0"])
        let off: JSON = ["email": "ada@example.org", "password": .string(ada.codes[1])]
        #expect(try await server.post(Self.login, off).status == 401)
        let nobody: JSON = ["email": "nobody@example.org", "password": .string(ada.codes[1])]
        #expect(try await server.post(Self.login, nobody).status == 401)
    }

    @Test(arguments: Engine.available)
    func `a recovery by mail removes the second factor when no code is left, and only then`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        func recover(_ password: String) async throws {
            server.clock.advance(seconds: 1)
            _ = try await server.post("/api/users/ada@example.org/recover").data()
            let token = try await server.token(to: "ada@example.org", .recover)
            let body: JSON = ["token": .string(token), "password": .string(password)]
            _ = try await server.post("/api/auth/users/confirm-password-reset", body).data()
        }
        func logIn(_ password: String) async throws -> JSON {
            try await server.post(Self.login, ["email": "ada@example.org", "password": .string(password)]).data()
        }
        try await recover("a brand new one")
        #expect(try await logIn("a brand new one")["mfa_required"] == true)
        for code in ada.codes { _ = try await logIn(code) }
        try await server.set(["auth.recovery.clears_mfa": "never"])
        try await recover("a second new one")
        #expect(try await logIn("a second new one")["mfa_required"] == true)
        try await server.set(["auth.recovery.clears_mfa": nil])
        try await recover("a third new one")
        #expect(try await logIn("a third new one")["token"] != nil)
    }

    @Test(arguments: Engine.available)
    func `recovery codes are not removed by a session that is not fresh, and removed ones are not spent`(
        _ engine: Engine
    )
        async throws
    {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        func codes() async throws -> [String] {
            let list = try await server.get("/api/users/me/secrets", token: ada.token).data()
            guard case .array(let secrets) = list else { return [] }
            return secrets.filter { $0["type"] == "backup" }.compactMap { $0["id"]?.text }
        }
        let first = try await codes()[0]
        server.clock.advance(seconds: 600)
        let refused = try await server.send(.delete, "/api/users/me/secrets/\(first)", token: ada.token)
        #expect((refused.status, refused.code) == (401, "reauthentication_required"))
        _ = try await server.post("/api/auth/reauthenticate", server.code(of: ada.totp), token: ada.token).data()
        for id in try await codes() {
            _ = try await server.send(.delete, "/api/users/me/secrets/\(id)", token: ada.token).data()
        }
        _ = try await server.post("/api/users/ada@example.org/recover").data()
        let token = try await server.token(to: "ada@example.org", .recover)
        let body: JSON = ["token": .string(token), "password": .string(TestServer.password)]
        _ = try await server.post("/api/auth/users/confirm-password-reset", body).data()
        #expect(try await server.post(Self.login, Self.credentials).data()["mfa_required"] == true)
    }

    @Test(arguments: Engine.available)
    func `new recovery codes, and each that is used, are told to the owner`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let before = try await server.mails().count
        let new = try await server.post(Self.regenerate, [:], token: ada.token).data()
        #expect(try await server.mails().count == before + 1)
        guard case .array(let codes)? = new["codes"] else { throw Reply.Unexpected(description: "no codes") }
        _ = try await server.post(Self.finish, with(try await server.ticket(), ["recovery_code": codes[0]])).data()
        #expect(try await server.mails().count == before + 2)
    }
}
