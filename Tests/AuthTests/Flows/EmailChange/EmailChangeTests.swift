import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct EmailChangeTests {
    private static let confirm = "/api/auth/users/confirm-email-change"

    private struct Ada {
        let record: String
        let token: String
    }

    private func ada(on server: TestServer) async throws -> Ada {
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        server.clock.advance(seconds: 1)
        return Ada(record: "/api/records/users/\(id)", token: token)
    }

    @Test(arguments: Engine.available)
    func `a new email waits until it is confirmed from there, and the old one is told twice`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let body: JSON = ["email": "New@example.org", "nick": "Countess"]
        let changed = try await server.send(.patch, ada.record, body, token: ada.token).data()
        #expect(changed["email"] == "ada@example.org")
        #expect(changed["pending_email"] == "New@example.org")
        #expect(changed["nick"] == "Countess")
        let me = try await server.get("/api/auth/me", token: ada.token).data()
        #expect(me["pending_email"] == "New@example.org")
        let token = try await server.token(to: "new@example.org", .emailChange)
        server.clock.advance(seconds: 1)
        let answer = try await server.post(Self.confirm, ["token": .string(token)]).data()
        #expect(answer == ["changed": true, "email": "New@example.org"])
        let after = try await server.get("/api/auth/me", token: ada.token).data()
        #expect(after["email"] == "New@example.org")
        #expect(after["email_verified"] == true)
        #expect(after["pending_email"] == .null)
        _ = try await server.signIn("new@example.org")
        #expect(try await server.post(Self.confirm, ["token": .string(token)]).status == 400)
        let mails = try await server.mails()
        #expect(
            mails == [
                "verify ada@example.org", "email_change New@example.org", "notice ada@example.org",
                "notice ada@example.org",
            ]
        )
        let audit = try await server.audit()
        #expect(audit.filter { $0.hasPrefix("email_change") || $0 == "email.changed" }.count == 2)
    }

    @Test(arguments: Engine.available)
    func `sending the present email withdraws the change`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        _ = try await server.send(.patch, ada.record, ["email": "new@example.org"], token: ada.token).data()
        let token = try await server.token(to: "new@example.org", .emailChange)
        let back = try await server.send(.patch, ada.record, ["email": "ada@example.org"], token: ada.token).data()
        #expect(back["pending_email"] == .null)
        #expect(try await server.post(Self.confirm, ["token": .string(token)]).status == 400)
        #expect(try await server.audit().filter { $0 == "email_change.cancelled" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `an email that somebody has is refused, when asked for and when confirmed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        try await server.signUp("eve@example.org")
        let taken = try await server.send(.patch, ada.record, ["email": "EVE@example.org"], token: ada.token)
        #expect((taken.status, taken.code) == (409, "email_taken"))
        #expect(try await server.get(ada.record, token: ada.token).data()["pending_email"] == .null)
        _ = try await server.send(.patch, ada.record, ["email": "bob@example.org"], token: ada.token).data()
        let token = try await server.token(to: "bob@example.org", .emailChange)
        try await server.signUp("bob@example.org")
        let late = try await server.post(Self.confirm, ["token": .string(token)])
        #expect((late.status, late.code) == (409, "email_taken"))
        #expect(try await server.get(ada.record, token: ada.token).data()["email"] == "ada@example.org")
    }

    @Test(arguments: Engine.available)
    func `where that must not be told, nobody is mailed and the answer is the same`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.enumeration_safe": "1"])
        let ada = try await ada(on: server)
        try await server.signUp("eve@example.org")
        let taken = try await server.send(.patch, ada.record, ["email": "eve@example.org"], token: ada.token).data()
        #expect(taken["pending_email"] == "eve@example.org")
        let mails = try await server.mails()
        #expect(!mails.contains("email_change eve@example.org"))
        #expect(mails.contains("void email_change"))
    }

    @Test(arguments: Engine.available)
    func `an unconfirmed change is over after a day`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        _ = try await server.send(.patch, ada.record, ["email": "new@example.org"], token: ada.token).data()
        let token = try await server.token(to: "new@example.org", .emailChange)
        server.clock.advance(seconds: 86_401)
        #expect(try await server.post(Self.confirm, ["token": .string(token)]).status == 400)
        try await server.sweeper.sweep()
        #expect(try await server.get(ada.record, token: ada.token).data()["pending_email"] == .null)
    }

    @Test(arguments: Engine.available)
    func `an admin's change is in force at once, and the old address is told`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let id = ada.record.split(separator: "/").last.map(String.init) ?? ""
        let admin = try await server.admin()
        let path = "/api/admin/users/users/\(id)"
        let changed = try await server.send(.patch, path, ["email": "new@example.org"], token: admin).data()
        #expect(changed["email"] == "new@example.org")
        #expect(changed["email_verified"] == false)
        let notice = try await server.mail(to: "ada@example.org", .notice)
        #expect(notice["text"]?.text?.contains("new@example.org") == true)
    }

    @Test(arguments: Engine.available, [true, false])
    func `a newer change withdraws an earlier one, whether or not the address is taken`(
        _ engine: Engine,
        _ isTaken: Bool
    ) async throws {
        let server = try await TestServer(engine, settings: ["auth.enumeration_safe": "1"])
        let ada = try await ada(on: server)
        if isTaken { try await server.signUp("eve@example.org") }
        _ = try await server.send(.patch, ada.record, ["email": "own@example.org"], token: ada.token).data()
        let first = try await server.token(to: "own@example.org", .emailChange)
        _ = try await server.send(.patch, ada.record, ["email": "eve@example.org"], token: ada.token).data()
        #expect(try await server.get("/auth/email-change?token=\(first)").status == 400)
        #expect(try await server.post(Self.confirm, ["token": .string(first)]).status == 400)
        server.clock.advance(seconds: 86_401)
        try await server.sweeper.sweep()
        #expect(try await server.get(ada.record, token: ada.token).data()["pending_email"] == .null)
    }

    @Test(arguments: Engine.available)
    func `a reset takes a waiting change along`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        _ = try await server.send(.patch, ada.record, ["email": "thief@example.org"], token: ada.token).data()
        _ = try await server.post("/api/auth/users/request-password-reset", ["email": "ada@example.org"]).data()
        let reset: JSON = [
            "token": .string(try await server.token(to: "ada@example.org", .reset)), "password": "a brand new one",
        ]
        _ = try await server.post("/api/auth/users/confirm-password-reset", reset).data()
        let token = try await server.signIn("ada@example.org", password: "a brand new one")
        #expect(try await server.get(ada.record, token: token).data()["pending_email"] == .null)
        let stolen = try await server.token(to: "thief@example.org", .emailChange)
        #expect(try await server.post(Self.confirm, ["token": .string(stolen)]).status == 400)
    }

    @Test(arguments: Engine.available)
    func `others are not mailed without end`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        for number in 0..<Outbox.floodMax {
            let body: JSON = ["email": .string("x\(number)@example.org")]
            _ = try await server.send(.patch, ada.record, body, token: ada.token).data()
        }
        let refused = try await server.send(.patch, ada.record, ["email": "y@example.org"], token: ada.token)
        #expect((refused.status, refused.code) == (429, "rate_limited"))
        #expect(try await server.mails().contains("email_change y@example.org") == false)
    }
}
