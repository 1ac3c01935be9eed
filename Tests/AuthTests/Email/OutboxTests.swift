import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct OutboxTests {
    private static let smtp: [String: String?] = [
        "smtp.enabled": "1", "smtp.host": "127.0.0.1", "smtp.port": "9", "smtp.from": "no-reply@example.org",
        "app.url": "https://app.example.org/base/", "auth.otp.enabled": "1",
    ]
    private static let requests: [(String, JSON?)] = [
        ("/api/auth/users/request-password-reset", ["email": "ada@example.org"]),
        ("/api/auth/users/otp/request", ["email": "ada@example.org"]), ("/api/users/ada@example.org/recover", nil),
        ("/api/auth/users/request-verify", nil),
    ]

    private func states(_ server: TestServer) async throws -> [String] {
        try await server.services.db.read { tx in
            try tx.all("SELECT state, template FROM outbox ORDER BY created_at, template").map {
                try "\($0.get("state") as String) \($0.get("template") as String)"
            }
        }
    }

    @Test(arguments: Engine.available)
    func `a mail waits in the outbox, sealed, and admins see its state but not what it says`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine, settings: Self.smtp)
        let admin = try await server.admin()
        let token = try await server.signedUp("ada@example.org")
        for (path, body) in Self.requests {
            server.clock.advance(seconds: 1)
            #expect(try await server.post(path, body, token: token).status == 200, "\(path)")
        }
        #expect(
            try await states(server) == [
                "pending verify", "pending reset", "pending otp", "pending recover", "pending verify",
            ]
        )
        let reply = try await server.get("/api/admin/outbox?state=pending&perPage=2", token: admin)
        guard case .array(let mails)? = reply.json["data"] else {
            Issue.record("\(reply.text)")
            return
        }
        #expect(mails.map { $0["template"] } == ["verify", "recover"])
        #expect(reply.json["totalItems"] == 5)
        #expect(mails[0]["to"] == "ada@example.org")
        #expect(mails[0]["content"] == nil)
        let bad = try await server.get("/api/admin/outbox?state=lost", token: admin)
        #expect((bad.status, bad.details?["state"] != nil) == (422, true))
        for path in ["/api/admin/outbox", "/api/admin/inbox", "/api/admin/inbox/wait"] {
            #expect(try await server.get(path, token: token).status == 403)
            #expect(try await server.get(path).status == 401)
        }
    }

    @Test(arguments: Engine.available)
    func `every route that mails is refused while no mail with a link can go out`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"], host: "0.0.0.0")
        let token = try await server.signedUp("ada@example.org")
        let settings: [([String: String?], String)] = [
            (["smtp.host": "127.0.0.1"], "Mail is off."), (["smtp.enabled": "1", "smtp.host": ""], "smtp.host"),
            (["smtp.host": "127.0.0.1", "smtp.from": "a@b.example"], "app.url"),
        ]
        for (changes, word) in settings {
            try await server.set(changes)
            for (path, body) in Self.requests {
                let reply = try await server.post(path, body, token: token)
                #expect((reply.status, reply.code) == (422, "mail_not_configured"), "\(path) \(changes)")
                #expect(reply.error?.contains(word) == true, "\(reply.text)")
            }
        }
        try await server.signUp("eve@example.org")
        #expect(try await states(server) == [])
    }

    @Test(arguments: Engine.available)
    func `the development inbox ends when SMTP is set, and what waits is tried at once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await server.signUp("ada@example.org")
        let inbox = try await server.get("/api/admin/inbox", token: admin)
        guard case .array(let mails) = try inbox.data() else { throw Reply.Unexpected(description: inbox.text) }
        #expect(mails.map { $0["template"] } == ["verify"])
        try await server.set(Self.smtp)
        let refusal = try await server.get("/api/admin/inbox", token: admin)
        #expect((refusal.status, refusal.code) == (422, "feature_disabled"))
        #expect(try await states(server) == [])
        _ = try await server.post("/api/users/ada@example.org/recover").data()
        let later = server.clock.now.advanced(bySeconds: 3600)
        _ = try await server.services.db.write { tx in
            try tx.execute("UPDATE outbox SET next_attempt_at = \(later)")
        }
        try await server.set(["smtp.port": "25"])
        let now = server.clock.now
        let due = try await server.services.db.read { tx in try tx.dueMails(at: now, limit: 10) }
        #expect(due.map(\.template) == [.recover])
    }

    @Test(arguments: Engine.available)
    func `one waits for a mail of the inbox by recipient, template and predecessor`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let admin = try await server.admin()
        try await server.signUp("ada@example.org")
        let path = "/api/admin/inbox/wait?to=ADA@example.org&template=otp"
        let none = try await server.get(path + "&timeout=0", token: admin)
        #expect((none.status, none.code) == (404, "not_found"))
        async let waiting = server.get(path, token: admin)
        _ = try await server.post("/api/auth/users/otp/request", ["email": "ada@example.org"]).data()
        let mail = try await waiting.data()
        #expect(mail["template"] == "otp")
        #expect(mail["code"]?.text?.count == 6)
        #expect(mail["link"]?.text?.hasPrefix("http://127.0.0.1:8090/auth/otp?token=") == true)
        let id = mail["id"]?.text ?? ""
        #expect(try await server.get(path + "&timeout=0&after=\(id)", token: admin).status == 404)
        for query in ["to=ada", "template=none", "after=1", "timeout=61", "timeout=x"] {
            #expect(try await server.get("/api/admin/inbox/wait?\(query)", token: admin).status == 422, "\(query)")
        }
    }

    @Test(arguments: Engine.available)
    func `of two deliverers that see a mail one claims it`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.smtp)
        try await server.signUp("ada@example.org")
        let now = server.clock.now
        let mail = try #require(try await server.services.db.read { tx in try tx.dueMails(at: now, limit: 1) }.first)
        let until = now.advanced(bySeconds: 60)
        let claims = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    try await server.services.db.write { tx in try tx.claimMail(mail, until: until) != nil }
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(claims == 1)
        #expect(try await server.services.db.read { tx in try tx.dueMails(at: now, limit: 1) }.isEmpty)
        #expect(try await server.services.db.read { tx in try tx.dueMails(at: until, limit: 1) }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `what is over is given up, erased, and forgotten after a week`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.smtp)
        try await server.signUp("ada@example.org")
        _ = try await server.post("/api/auth/users/otp/request", ["email": "ada@example.org"]).data()
        _ = try await server.post("/api/auth/users/otp/request", ["email": "nobody@example.org"]).data()
        let sweeper = server.sweeper
        server.clock.advance(seconds: 600)
        try await sweeper.sweep()
        #expect(try await states(server) == ["expired otp", "pending verify"])
        #expect(try await server.count("SELECT count(*) AS count FROM outbox WHERE content IS NULL") == 1)
        server.clock.advance(seconds: 85_800)
        try await sweeper.sweep()
        #expect(try await states(server) == ["expired otp", "expired verify"])
        server.clock.advance(seconds: 7 * 86_400 + 1)
        try await sweeper.sweep()
        #expect(try await states(server) == [])
    }

    @Test(arguments: Engine.available)
    func `an account's mails go with it`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: Self.smtp)
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        _ = try await server.send(.delete, "/api/records/users/\(id)", token: token).data()
        #expect(try await states(server) == [])
        #expect(try await server.count("SELECT count(*) AS count FROM one_time_tokens") == 0)
        #expect(try await server.count("SELECT count(*) AS count FROM secrets") == 0)
    }

    @Test(arguments: [(1, 5), (2, 15), (7, 600), (8, 3600), (100, 3600)])
    func `a refused mail waits longer each time`(_ tries: Int, _ seconds: Int) {
        #expect(Delivery.waitSeconds(afterRefusals: tries) == seconds)
    }
}
