import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct OneTimeCodeTests {
    private static let request = "/api/auth/users/otp/request"
    private static let auth = "/api/auth/users/otp/auth"
    private static let on: [String: String?] = ["auth.otp.enabled": "1"]

    private static func byCode(_ code: JSON?, _ email: String = "ada@example.org") -> JSON {
        ["email": .string(email), "code": code ?? .null]
    }

    private func mailed(_ server: TestServer) async throws -> JSON {
        server.clock.advance(seconds: 1)
        #expect(try await server.post(Self.request, ["email": "ada@example.org"]).data() == ["sent": true])
        return try await server.mail(to: "ada@example.org", .otp)
    }

    /// Codes that are not this one.
    private func wrong(_ code: JSON?) -> [JSON] {
        (0..<9).map { JSON.string("00000\($0)") }.filter { $0 != code }
    }

    @Test(arguments: Engine.available)
    func `one logs in by the code or by the link, once, and the email is verified`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        try await server.signUp("ada@example.org")
        for isByCode in [true, false] {
            let mail = try await mailed(server)
            let body: JSON = isByCode ? Self.byCode(mail["code"]) : ["token": mail["token"] ?? .null]
            let signIn = try await server.post(Self.auth, body).data()
            #expect(signIn["record"]?["email_verified"] == true)
            #expect(signIn["token_type"] == "jwt")
            let me = try await server.get("/api/auth/me", token: signIn["token"]?.text).data()
            #expect(me["amr"] == ["otp"])
            // One record: either way spends both.
            for body in [Self.byCode(mail["code"]), ["token": mail["token"] ?? .null] as JSON] {
                let again = try await server.post(Self.auth, body)
                #expect((again.status, again.code) == (400, "invalid_one_time_token"))
            }
        }
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == 2)
        #expect(try await server.audit().filter { $0 == "sign_in.succeeded" }.count == 2)
    }

    @Test(arguments: Engine.available)
    func `codes are read with spaces and hyphens`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        try await server.signUp("ada@example.org")
        let code = try await mailed(server)["code"]?.text ?? ""
        _ = try await server.post(Self.auth, Self.byCode(.string("\(code.prefix(3)) -\(code.suffix(3))"))).data()
    }

    @Test(arguments: Engine.available)
    func `five wrong codes kill the record, and wrong ones count like wrong passwords`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        try await server.signUp("ada@example.org")
        let mail = try await mailed(server)
        for code in wrong(mail["code"]).prefix(6) {
            let reply = try await server.post(Self.auth, Self.byCode(code))
            #expect((reply.status, reply.code) == (400, "invalid_one_time_token"))
        }
        #expect(try await server.post(Self.auth, Self.byCode(mail["code"])).status == 400)
        #expect(try await server.post(Self.auth, ["token": mail["token"] ?? .null]).status == 400)
        #expect(try await server.count("SELECT misses AS count FROM one_time_tokens WHERE purpose = 'otp'") == 5)
        // The seven attempts by code have failed; three more lock the account, for passwords too.
        #expect(try await server.audit().filter { $0 == "sign_in.failed" }.count == 7)
        let fresh = try await mailed(server)
        for code in wrong(fresh["code"]).prefix(3) { _ = try await server.post(Self.auth, Self.byCode(code)) }
        let locked = try await server.post(Self.auth, Self.byCode(fresh["code"]))
        #expect((locked.status, locked.code) == (429, "locked_out"))
        let password: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        #expect(try await server.post("/api/auth/users/login", password).status == 429)
        server.clock.advance(seconds: 901)
        #expect(try await server.post(Self.auth, ["token": fresh["token"] ?? .null]).status == 400, "it has expired")
    }

    @Test(arguments: Engine.available)
    func `four wrong codes leave the right one good for ten minutes`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        try await server.signUp("ada@example.org")
        let mail = try await mailed(server)
        for code in wrong(mail["code"]).prefix(4) { _ = try await server.post(Self.auth, Self.byCode(code)) }
        server.clock.advance(seconds: 599)
        _ = try await server.post(Self.auth, Self.byCode(mail["code"])).data()
        let late = try await mailed(server)
        server.clock.advance(seconds: 600)
        #expect(try await server.post(Self.auth, Self.byCode(late["code"])).status == 400)
    }

    @Test(arguments: Engine.available)
    func `a newer code takes the place of an older one, whose misses are forgotten`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        try await server.signUp("ada@example.org")
        let first = try await mailed(server)
        for code in wrong(first["code"]).prefix(4) { _ = try await server.post(Self.auth, Self.byCode(code)) }
        let second = try await mailed(server)
        #expect(try await server.post(Self.auth, ["token": first["token"] ?? .null]).status == 400)
        for code in wrong(second["code"]).prefix(3) { _ = try await server.post(Self.auth, Self.byCode(code)) }
        _ = try await server.post(Self.auth, Self.byCode(second["code"])).data()
        #expect(try await server.count("SELECT count(*) AS count FROM one_time_tokens WHERE purpose = 'otp'") == 1)
    }

    @Test(arguments: Engine.available)
    func `an unknown email is refused like a wrong code, and locked like an account`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        #expect(try await server.post(Self.request, ["email": "nobody@example.org"]).data() == ["sent": true])
        for _ in 0..<10 {
            let reply = try await server.post(Self.auth, Self.byCode("123456", "nobody@example.org"))
            #expect((reply.status, reply.code) == (400, "invalid_one_time_token"))
        }
        #expect(try await server.post(Self.auth, Self.byCode("123456", "nobody@example.org")).status == 429)
        #expect(try await server.mails() == ["void otp"])
    }

    @Test(arguments: Engine.available)
    func `what is sent must be a token, or an email and a code`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let bodies: [(JSON, String)] = [
            ([:], "email"), (["email": "ada@example.org"], "code"), (["code": "123456"], "email"),
            (["email": "ada@example.org", "code": "12345"], "code"), (["email": "ada", "code": "123456"], "email"),
            (["email": "ada@example.org", "code": 123456], "code"),
            (["token": "x", "email": "ada@example.org", "code": "123456"], "email"),
            (["token": "x", "token_type": "paper"], "token_type"),
        ]
        for (body, key) in bodies {
            let reply = try await server.post(Self.auth, body)
            #expect(reply.status == 422, "\(body)")
            #expect(reply.details?[key] != nil, "\(body)")
        }
        #expect(try await server.post(Self.request, ["email": "not an email"]).status == 422)
    }

    @Test(arguments: Engine.available)
    func `it is off by default, and that is told before mail and body are looked at`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, host: "192.0.2.9")
        for path in [Self.request, Self.auth] {
            let reply = try await server.post(path, [:])
            #expect((reply.status, reply.code) == (422, "feature_disabled"))
        }
        #expect(try await server.post("/api/auth/nope/otp/request", [:]).status == 404)
        try await server.set(Self.on)
        let reply = try await server.post(Self.request, [:])
        #expect((reply.status, reply.code) == (422, "mail_not_configured"))
    }

    @Test(arguments: Engine.available)
    func `what is stored tells neither the token nor the code`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let id = UserID(rawValue: try await server.signUp("ada@example.org")["id"]?.text ?? "")
        let mail = try await mailed(server)
        let (token, code) = (mail["token"]?.text ?? "", mail["code"]?.text ?? "")
        let stored = try await server.services.db.read { tx in
            try tx.all("SELECT digest, code FROM one_time_tokens WHERE purpose = 'otp'").map { row in
                (try row.get("digest", as: [UInt8].self), try row.get("code", as: [UInt8].self))
            }
        }
        #expect(stored.count == 1)
        #expect(stored.first?.0 == Digest(of: token).bytes)
        // Without the sealing key a code can't be found by trying.
        #expect(stored.first?.1 != Digest(of: code).bytes)
        let subject = OneTimeSubject.user(try #require(id))
        let digest = OneTimeCode(parsing: code)?.digest(.otp, of: subject, by: server.services.sealingKey)
        #expect(stored.first?.1 == digest?.bytes)
        let content = try await server.services.db.read { tx in
            try tx.all("SELECT content FROM outbox").map { try $0.get("content", as: String.self) }
        }
        #expect(content.allSatisfy { !$0.contains(token) && !$0.contains(code) })
    }

    @Test(arguments: Engine.available)
    func `who signs in by mail to an account that others made is told of its password, and what they began ends`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine, settings: Self.on)
        let squatter = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: squatter).data()["id"]?.text ?? ""
        let change: JSON = ["email": "squatter@example.org"]
        _ = try await server.send(.patch, "/api/records/users/\(id)", change, token: squatter).data()
        let mail = try await mailed(server)
        server.clock.advance(seconds: 1)
        let record = try await server.post(Self.auth, ["token": mail["token"] ?? .null]).data()["record"]
        #expect(record?["pending_email"] == .null)
        let stolen: JSON = ["token": .string(try await server.token(to: "squatter@example.org", .emailChange))]
        #expect(try await server.post("/api/auth/users/confirm-email-change", stolen).status == 400)
        let notice = try await server.mail(to: "ada@example.org", .notice)
        #expect(notice["subject"] == "Your address is confirmed")
        #expect(notice["text"]?.text?.contains("signed in to otherwise") == true)
    }
}
