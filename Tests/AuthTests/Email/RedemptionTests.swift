import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What holds for every kind of mailed token and code.
@Suite struct RedemptionTests {
    enum Kind: String, CaseIterable {
        case verify, reset, recover, otpByLink, otpByCode, otpByEither, emailChange
    }

    /// The requests that redeem it: any of them does.
    private func redemptions(_ kind: Kind, _ server: TestServer) async throws -> [(path: String, body: JSON)] {
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let email: JSON = ["email": "ada@example.org"]
        func mailed(_ template: MailTemplate, to recipient: String = "ada@example.org") async throws -> JSON {
            .string(try await server.token(to: recipient, template))
        }
        switch kind {
        case .verify: return [("/api/auth/users/verify-email", ["token": try await mailed(.verify)])]
        case .reset, .recover:
            let path = kind == .reset ? "/api/auth/users/request-password-reset" : "/api/users/\(id)/recover"
            _ = try await server.post(path, kind == .reset ? email : nil).data()
            let token = try await mailed(kind == .reset ? .reset : .recover)
            return [("/api/auth/users/confirm-password-reset", ["token": token, "password": "a brand new one"])]
        case .otpByLink, .otpByCode, .otpByEither:
            _ = try await server.post("/api/auth/users/otp/request", email).data()
            let mail = try await server.mail(to: "ada@example.org", .otp)
            let byLink: JSON = ["token": mail["token"] ?? .null]
            let byCode: JSON = ["email": "ada@example.org", "code": mail["code"] ?? .null]
            let bodies = kind == .otpByLink ? [byLink] : kind == .otpByCode ? [byCode] : [byLink, byCode]
            return bodies.map { ("/api/auth/users/otp/auth", $0) }
        case .emailChange:
            let new: JSON = ["email": "new@example.org"]
            _ = try await server.send(.patch, "/api/records/users/\(id)", new, token: token).data()
            let token = try await mailed(.emailChange, to: "new@example.org")
            return [("/api/auth/users/confirm-email-change", ["token": token])]
        }
    }

    @Test(arguments: Engine.available, Kind.allCases)
    func `of 16 redemptions at once exactly one succeeds`(_ engine: Engine, _ kind: Kind) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let redemptions = try await redemptions(kind, server)
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<16 {
                let (path, body) = redemptions[number % redemptions.count]
                group.addTask { try await server.post(path, body).status }
            }
            return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == [200: 1, 400: 15])
        // Whoever sends the right one twice is not locked out for it.
        #expect(try await server.audit().contains("sign_in.failed") == false)
        #expect(try await server.count("SELECT count(*) AS count FROM one_time_tokens WHERE used_at IS NOT NULL") == 1)
    }

    @Test(arguments: Engine.available)
    func `of wrong codes at once no more than five are looked at`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["auth.otp.enabled": "1", "auth.lockout.max_attempts": "0"]
        )
        try await server.signUp("ada@example.org")
        _ = try await server.post("/api/auth/users/otp/request", ["email": "ada@example.org"]).data()
        let code = try await server.mail(to: "ada@example.org", .otp)["code"]?.text ?? ""
        let wrong = code == "000000" ? "000001" : "000000"
        let body: JSON = ["email": "ada@example.org", "code": .string(wrong)]
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<16 { group.addTask { try await server.post("/api/auth/users/otp/auth", body).status } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 400, count: 16))
        #expect(try await server.count("SELECT misses AS count FROM one_time_tokens WHERE purpose = 'otp'") == 5)
    }

    /// The refusals of the one funnel, for the ways in that are mailed.
    @Test(arguments: Engine.available, [Kind.otpByLink, .otpByCode])
    func `who may not sign in doesn't, by whatever was mailed before`(_ engine: Engine, _ kind: Kind) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let redemption = try #require(try await redemptions(kind, server).first)
        for status in ["suspended", "pending"] {
            // Past the flows, which would have killed the token.
            _ = try await server.services.db.write { tx in
                try tx.execute("UPDATE users SET status = \(status) WHERE email = 'ada@example.org'")
            }
            let reply = try await server.post(redemption.path, redemption.body)
            #expect((reply.status, reply.code) == (400, "invalid_one_time_token"), "\(status)")
            _ = try await server.services.db.write { tx in
                try tx.execute("UPDATE one_time_tokens SET used_at = NULL")
            }
        }
        #expect(try await server.count("SELECT count(*) AS count FROM sessions WHERE methods = 'otp'") == 0)
    }

    @Test(arguments: Engine.available)
    func `no header and no form of the target changes a link`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["app.url": "https://app.example.org", "auth.otp.enabled": "1"]
        )
        try await server.signUp("ada@example.org")
        let forwarded = try #require(HTTPField.Name("X-Forwarded-Host"))
        let standard = try #require(HTTPField.Name("Forwarded"))
        let headers: [HTTPField.Name: String] = [
            forwarded: "evil.example", standard: "host=evil.example;proto=http", .origin: "https://evil.example",
            .referer: "https://evil.example/",
        ]
        for target in [
            "/api/auth/users/request-password-reset", "http://evil.example/api/auth/users/request-password-reset",
        ] {
            server.clock.advance(seconds: 1)
            let body: JSON = ["email": "ada@example.org"]
            _ = try await server.send(.post, target, body, headers: headers).data()
            let mail = try await server.mail(to: "ada@example.org", .reset)
            #expect(mail["link"]?.text?.hasPrefix("https://app.example.org/auth/reset?token=") == true)
            #expect(mail["text"]?.text?.contains("evil") == false)
        }
    }
}
