import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct EmailVerificationTests {
    private static let request = "/api/auth/users/request-verify"
    private static let verify = "/api/auth/users/verify-email"

    @Test(arguments: Engine.available)
    func `registration mails a link whose token verifies the email, once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("Ada@Example.org")
        #expect(try await server.mails() == ["verify Ada@Example.org"])
        let mail = try await server.mail(to: "ada@example.org", .verify)
        let mailed = mail["token"]?.text ?? ""
        #expect(mail["link"]?.text == "http://127.0.0.1:8090/auth/verify?token=\(mailed)&collection=users")
        #expect(mail["code"] == .null)
        #expect(try await server.get("/api/auth/me", token: token).data()["email_verified"] == false)
        #expect(try await server.post(Self.verify, ["token": .string(mailed)]).data() == ["verified": true])
        #expect(try await server.get("/api/auth/me", token: token).data()["email_verified"] == true)
        let again = try await server.post(Self.verify, ["token": .string(mailed)])
        #expect((again.status, again.code) == (400, "invalid_one_time_token"))
        #expect(try await server.audit().filter { $0 == "email.verified" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `another mail can be asked for until the email is verified`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let first = try await server.token(to: "ada@example.org", .verify)
        server.clock.advance(seconds: 60)
        #expect(try await server.post(Self.request, token: token).data() == ["sent": true])
        let second = try await server.token(to: "ada@example.org", .verify)
        #expect(try await server.post(Self.verify, ["token": .string(first)]).status == 400)
        _ = try await server.post(Self.verify, ["token": .string(second)]).data()
        let answer = try await server.post(Self.request, token: token).data()
        #expect(answer == ["sent": false, "already_verified": true])
        #expect(try await server.mails().count == 2)
        #expect(try await server.audit().filter { $0 == "email_verification.requested" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `a token is good for 24 hours, in its collection, and for its purpose`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        _ = try await server.post("/api/collections", ["name": "clients"], token: admin).data()
        try await server.signUp("ada@example.org")
        let mailed: JSON = ["token": .string(try await server.token(to: "ada@example.org", .verify))]
        #expect(try await server.post("/api/auth/clients/verify-email", mailed).status == 400)
        #expect(try await server.post("/api/auth/users/confirm-email-change", mailed).status == 400)
        server.clock.advance(seconds: 86_399)
        _ = try await server.post(Self.verify, mailed).data()
        try await server.signUp("eve@example.org")
        let late: JSON = ["token": .string(try await server.token(to: "eve@example.org", .verify))]
        server.clock.advance(seconds: 86_400)
        #expect(try await server.post(Self.verify, late).status == 400)
        #expect(try await server.count("SELECT count(*) AS count FROM users WHERE email_verified = TRUE") == 1)
    }

    @Test(arguments: Engine.available)
    func `only a user of the collection asks, and only with mail`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, host: "192.0.2.9")
        let token = try await server.signedUp("ada@example.org")
        #expect(try await server.mails() == [])
        #expect(try await server.post(Self.request).status == 401)
        #expect(try await server.post(Self.request, token: try await server.admin()).status == 403)
        let refusal = try await server.post(Self.request, token: token)
        #expect((refusal.status, refusal.code) == (422, "mail_not_configured"))
    }
}
