import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct MFATests {
    private static let setUp = "/api/auth/users/totp/setup"
    private static let confirm = "/api/auth/users/totp/confirm"
    private static let disable = "/api/auth/users/totp/disable"
    private static let regenerate = "/api/auth/users/totp/recovery/regenerate"
    private static let login = "/api/auth/users/login"
    private static let finish = "/api/auth/users/login/mfa"
    private static let credentials: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]

    private func with(_ ticket: JSON, _ factor: JSON) -> JSON { factor.with("mfa_token", ticket) }

    @Test(arguments: Engine.available)
    func `after enrolment a password gives a ticket, and a code with it the session`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        #expect(ada.codes.count == 10 && Set(ada.codes).count == 10)
        let first = try await server.post(Self.login, Self.credentials).data()
        #expect(first["mfa_required"] == true)
        #expect(first["token"] == nil)
        let body = with(first["mfa_token"] ?? .null, server.code(of: ada.totp))
        let signIn = try await server.post(Self.finish, body).data()
        #expect(signIn["record"]?["mfa_enabled"] == true)
        let me = try await server.get("/api/auth/me", token: signIn["token"]?.text).data()
        #expect(me["amr"] == ["pwd", "otp", "mfa"])
        let again = try await server.post(Self.finish, body)
        #expect((again.status, again.code) == (400, "invalid_one_time_token"))
        let audit = try await server.audit()
        for event in ["mfa.set_up", "mfa.enabled", "sign_in.second_factor_required"] {
            #expect(audit.filter { $0 == event }.count == 1, "\(event)")
        }
        #expect(try await server.mail(to: "ada@example.org", .notice)["text"]?.text?.contains("authenticator") == true)
    }

    @Test(arguments: Engine.available)
    func `a set-up counts once confirmed, and can't overwrite one that counts`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        #expect(try await server.post(Self.confirm, ["code": "123456"], token: token).code == "mfa_not_set_up")
        let first = try await server.post(Self.setUp, token: token).data()
        let second = try await server.post(Self.setUp, token: token).data()
        #expect(first["secret"] != second["secret"])
        #expect(second["otpauth_url"]?.text?.contains("secret=\(second["secret"]?.text ?? "-")") == true)
        #expect(second["qr_svg"]?.text?.hasPrefix("<svg") == true)
        #expect(try await server.signIn("ada@example.org") != "", "not asked for yet")
        let old = try #require(TOTP(secret: first["secret"]?.text ?? ""))
        let wrong = try await server.post(Self.confirm, server.code(of: old), token: token)
        #expect((wrong.status, wrong.code) == (401, "invalid_credentials"))
        let totp = try #require(TOTP(secret: second["secret"]?.text ?? ""))
        _ = try await server.post(Self.confirm, server.code(of: totp), token: token).data()
        for path in [Self.setUp, Self.confirm] {
            let body: JSON? = path == Self.confirm ? server.code(of: totp) : nil
            let refused = try await server.post(path, body, token: token)
            #expect((refused.status, refused.code) == (409, "mfa_enabled"))
        }
    }

    @Test(arguments: Engine.available)
    func `an accepted step is never accepted again, nor an earlier one`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        server.clock.advance(seconds: 90)
        let early = server.code(of: ada.totp, steps: -1)
        let next = server.code(of: ada.totp, steps: 1)
        _ = try await server.post(Self.finish, with(try await server.ticket(), next)).data()
        for spent in [next, server.code(of: ada.totp), early] {
            let reply = try await server.post(Self.finish, with(try await server.ticket(), spent))
            #expect((reply.status, reply.code) == (401, "invalid_credentials"))
        }
        server.clock.advance(seconds: 60)
        _ = try await server.post(Self.finish, with(try await server.ticket(), server.code(of: ada.totp))).data()
    }

    @Test(arguments: Engine.available)
    func `five wrong codes burn a ticket, and ten lock the account`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        for _ in 0..<2 {
            let ticket = try await server.ticket()
            for wrong: JSON in [
                ["code": "000000"], ["recovery_code": "aaaaaaaa"], ["code": "x"], ["code": "000001"],
                ["recovery_code": "?"],
            ] {
                #expect(try await server.post(Self.finish, with(ticket, wrong)).status == 401, "\(wrong)")
            }
            let right = try await server.post(Self.finish, with(ticket, server.code(of: ada.totp)))
            #expect((right.status, right.code) == (400, "invalid_one_time_token"))
        }
        #expect(try await server.post(Self.login, Self.credentials).status == 429)
        server.clock.advance(seconds: 901)
        _ = try await server.post(Self.finish, with(try await server.ticket(), server.code(of: ada.totp))).data()
    }

    @Test(arguments: Engine.available)
    func `a ticket lives five minutes, and dies with the password`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let (early, late) = (try await server.ticket(), try await server.ticket())
        server.clock.advance(seconds: 299)
        _ = try await server.post(Self.finish, with(early, server.code(of: ada.totp))).data()
        server.clock.advance(seconds: 30)
        #expect(try await server.post(Self.finish, with(late, server.code(of: ada.totp))).status == 400)
        let fresh = try await server.ticket()
        let change: JSON = ["current_password": .string(TestServer.password), "password": "a brand new one"]
        _ = try await server.post("/api/auth/users/change-password", change, token: ada.token).data()
        #expect(try await server.post(Self.finish, with(fresh, server.code(of: ada.totp))).status == 400)
    }

    @Test(arguments: Engine.available)
    func `what is sent must be a ticket and one factor`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let ticket = try await server.ticket()
        for body: JSON in [
            [:], ["mfa_token": ticket], ["code": "123456"],
            ["mfa_token": ticket, "code": "123456", "recovery_code": .string(ada.codes[0])],
            ["mfa_token": 1, "code": "123456"],
        ] { #expect(try await server.post(Self.finish, body).status == 422, "\(body)") }
        let foreign: JSON = ["mfa_token": .string(OneTimeToken(random: .system).text), "code": "123456"]
        #expect(try await server.post(Self.finish, foreign).status == 400)
    }

    @Test(arguments: Engine.available, ["code", "recovery_code"])
    func `of 16 uses of one code at once one wins`(_ engine: Engine, _ kind: String) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "0"])
        let ada = try await server.enrolled()
        let factor: JSON = kind == "code" ? server.code(of: ada.totp) : ["recovery_code": .string(ada.codes[0])]
        var bodies: [JSON] = []
        for _ in 0..<16 { bodies.append(with(try await server.ticket(), factor)) }
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for body in bodies { group.addTask { try await server.post(Self.finish, body).status } }
            return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == [200: 1, 401: 15])
    }

    @Test(arguments: Engine.available)
    func `it is turned off by a factor, also where the feature is off, and everything of it goes`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        try await server.set(["auth.mfa.enabled": "0"])
        #expect(try await server.post(Self.setUp, token: ada.token).code == "feature_disabled")
        #expect(try await server.post(Self.login, Self.credentials).data()["mfa_required"] == true)
        #expect(try await server.post(Self.disable, ["code": "000000"], token: ada.token).status == 401)
        #expect(try await server.post(Self.disable, [:], token: ada.token).status == 422)
        let off = try await server.post(Self.disable, ["recovery_code": .string(ada.codes[0])], token: ada.token)
        #expect(try off.data() == ["enabled": false])
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE type <> 'password'") == 0)
        #expect(try await server.signIn("ada@example.org") != "")
        #expect(try await server.post(Self.disable, ["code": "000000"], token: ada.token).code == "mfa_not_set_up")
    }

    @Test(arguments: Engine.available)
    func `an admin removes it for somebody who lost everything`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let id = try await server.get("/api/auth/me", token: ada.token).data()["id"]?.text ?? ""
        let path = "/api/admin/users/users/\(id)/disable-mfa"
        #expect(try await server.post(path, token: ada.token).status == 403)
        #expect(try await server.post(path, token: try await server.admin()).data() == ["disabled": true])
        #expect(try await server.signIn("ada@example.org") != "")
        #expect(try await server.audit().filter { $0 == "mfa.reset" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `a mailed code is a first factor too`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let ada = try await server.enrolled()
        _ = try await server.post("/api/auth/users/otp/request", ["email": "ada@example.org"]).data()
        let mailed: JSON = ["token": .string(try await server.token(to: "ada@example.org", .otp))]
        let first = try await server.post("/api/auth/users/otp/auth", mailed).data()
        #expect(first["mfa_required"] == true)
        let body = with(first["mfa_token"] ?? .null, server.code(of: ada.totp))
        let token = try await server.post(Self.finish, body).data()["token"]?.text
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["otp", "mfa"])
    }

    @Test(arguments: Engine.available)
    func `who must have a second factor and has none can only enrol`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let token = try await server.signedUp("ada@example.org")
        func refused(_ token: String) async throws -> Bool {
            let reply = try await server.get("/api/auth/sessions", token: token)
            return (reply.status, reply.code) == (403, "mfa_enrolment_required")
        }
        try await server.set(["auth.mfa.required": "admins"])
        #expect(try await refused(admin))
        #expect(try await !refused(token))
        try await server.set(["auth.mfa.required": "all"])
        #expect(try await refused(token))
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
        let setUp = try await server.post(Self.setUp, token: token).data()
        let totp = try #require(TOTP(secret: setUp["secret"]?.text ?? ""))
        _ = try await server.post(Self.confirm, server.code(of: totp), token: token).data()
        #expect(try await !refused(token))
        try await server.set(["auth.mfa.required": "off"])
        let options: JSON = ["options": ["mfa_required": true]]
        _ = try await server.send(.patch, "/api/collections/users", options, token: admin).data()
        #expect(try await refused(try await server.signedUp("eve@example.org")))
        // Nobody is kept out by what nobody can set up.
        try await server.set(["auth.mfa.enabled": "0"])
        #expect(try await !refused(try await server.signIn("eve@example.org")))
    }

    @Test(arguments: Engine.available)
    func `a code may come with the password, and is spent even if that is wrong`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        func logIn(_ password: String, _ factor: JSON, _ email: String = "ada@example.org") async throws -> Reply {
            guard case .object(let members) = factor else { throw Reply.Unexpected(description: "no factor") }
            let body: JSON = ["email": .string(email), "password": .string(password)]
            return try await server.post(Self.login, body.merging(members))
        }
        let right = server.code(of: ada.totp)
        let attempts: [(String, JSON, String)] = [
            ("wrong wrong", right, "ada@example.org"), (TestServer.password, right, "ada@example.org"),
            (TestServer.password, ["code": "000000"], "ada@example.org"),
            (TestServer.password, right, "nobody@example.org"),
            (TestServer.password, ["recovery_code": "?"], "ada@example.org"),
        ]
        var answers: Set<String> = []
        for (password, factor, email) in attempts {
            let reply = try await logIn(password, factor, email)
            #expect((reply.status, reply.code) == (401, "invalid_credentials"))
            answers.insert(reply.error ?? "")
        }
        #expect(answers.count == 1)
        server.clock.advance(seconds: 30)
        let token = try await logIn(TestServer.password, server.code(of: ada.totp)).data()["token"]?.text
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["pwd", "otp", "mfa"])
        try await server.signUp("eve@example.org")
        #expect(try await logIn(TestServer.password, ["code": "123456"], "eve@example.org").data()["token"] != nil)
        #expect(try await logIn(TestServer.password, ["code": "1", "recovery_code": "2"]).status == 422)
    }

    // What a hostile review has found.

    @Test(arguments: Engine.available)
    func `a changed password makes the second factor no fresher`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        server.clock.advance(seconds: 600)
        #expect(try await server.post(Self.regenerate, [:], token: ada.token).status == 422)
        let change: JSON = ["current_password": .string(TestServer.password), "password": "another good one"]
        let changed = try await server.post("/api/auth/users/change-password", change, token: ada.token).data()
        #expect(try await server.post(Self.regenerate, [:], token: changed["token"]?.text).status == 422)
        #expect(try await server.post(Self.setUp, token: changed["token"]?.text).code == "reauthentication_required")
    }

    @Test(arguments: Engine.available)
    func `a login with a code tells nobody which accounts have a second factor`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        _ = try await server.enrolled()
        try await server.signUp("eve@example.org")
        for factor: JSON in [["code": "123456"], ["recovery_code": "abcdefgh"]] {
            var answers: Set<String> = []
            for name in ["ada@example.org", "eve@example.org", "nobody@example.org"] {
                guard case .object(let members) = factor else { return }
                let body: JSON = ["email": .string(name), "password": "wrong wrong"]
                let refused = try await server.post(Self.login, body.merging(members))
                answers.insert("\(refused.status) \(refused.code ?? "") \(refused.error ?? "")")
            }
            #expect(answers.count == 1, "\(answers)")
        }
        let body: JSON = ["email": "eve@example.org", "password": .string(TestServer.password), "code": "123456"]
        #expect(try await server.post(Self.login, body).data()["token"] != nil)
    }

    @Test(arguments: Engine.available)
    func `an API key neither disables a second factor nor makes recovery codes`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        let made = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: ada.token).data()
        for path in [Self.disable, Self.regenerate] {
            let refused = try await server.post(path, server.code(of: ada.totp), token: made["secret"]?.text)
            #expect((refused.status, refused.code) == (403, "session_required"))
        }
    }

    @Test(arguments: Engine.available)
    func `turning it on ends the sessions that were begun without it`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let other = try await server.signedUp("ada@example.org")
        let token = try await server.signIn("ada@example.org")
        let setUp = try await server.post(Self.setUp, token: token).data()
        let totp = try #require(TOTP(secret: setUp["secret"]?.text ?? ""))
        _ = try await server.post(Self.confirm, server.code(of: totp), token: token).data()
        #expect(try await server.get("/api/auth/me", token: other).details?["reason"] == "revoked")
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a key that waits to be confirmed dies with the password, and after an hour`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        var token = try await server.signedUp("ada@example.org")
        let first = try await server.post(Self.setUp, token: token).data()
        let change: JSON = ["current_password": .string(TestServer.password), "password": .string(TestServer.password)]
        token =
            try await server.post("/api/auth/users/change-password", change, token: token).data()["token"]?.text ?? ""
        let totp = try #require(TOTP(secret: first["secret"]?.text ?? ""))
        #expect(try await server.post(Self.confirm, server.code(of: totp), token: token).code == "mfa_not_set_up")
        let second = try #require(
            TOTP(secret: try await server.post(Self.setUp, token: token).data()["secret"]?.text ?? "")
        )
        server.clock.advance(seconds: 3600)
        #expect(try await server.post(Self.confirm, server.code(of: second), token: token).code == "mfa_not_set_up")
    }

    @Test(arguments: Engine.available)
    func `who reads the mail gets no more guesses at codes`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.enrolled()
        for _ in 0..<10 { _ = try await server.post(Self.disable, ["code": "000000"], token: ada.token) }
        _ = try await server.post("/api/auth/users/request-password-reset", ["email": "ada@example.org"]).data()
        let token = try await server.token(to: "ada@example.org", .reset)
        let body: JSON = ["token": .string(token), "password": .string(TestServer.password)]
        _ = try await server.post("/api/auth/users/confirm-password-reset", body).data()
        #expect(try await server.post(Self.login, Self.credentials).code == "locked_out")
    }
}
