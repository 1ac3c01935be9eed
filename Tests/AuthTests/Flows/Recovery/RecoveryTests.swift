import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct RecoveryTests {
    @Test(arguments: Engine.available)
    func `an account is found by id, username and email, by GET and POST`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let id = try await server.signUp("ada@example.org", ["username": "ada.l"])["id"]?.text ?? ""
        for name in [id, "ada.l", "ADA.L", "Ada@example.org", "ada%40example.org"] {
            for method in [HTTPRequest.Method.get, .post] {
                server.clock.advance(seconds: 1)
                let reply = try await server.send(method, "/users/\(name)/recover")
                #expect(try reply.data() == ["sent": true], "\(name)")
            }
        }
        #expect(try await server.mails().filter { $0 == "recover ada@example.org" }.count == 10)
        let token = try await server.token(to: "ada@example.org", .recover)
        let body: JSON = ["token": .string(token), "password": "a brand new one"]
        #expect(
            try await server.post("/api/auth/users/confirm-password-reset", body).data() == ["reset": true]
        )
        _ = try await server.signIn("ada@example.org", password: "a brand new one")
        #expect(try await server.mail(to: "ada@example.org", .notice)["subject"] == "Your account was recovered")
        #expect(try await server.audit().filter { $0 == "account.recovered" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `a name that nobody has gets the same answer`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let unknown = UserID(at: server.clock.now, random: .system).rawValue
        for name in [unknown, "nobody", "nobody@example.org", "%20", "a'b"] {
            let reply = try await server.post("/api/users/\(name)/recover")
            #expect((reply.status, reply.json["data"]) == (200, ["sent": true]), "\(name)")
        }
        #expect(try await server.mails().allSatisfy { $0 == "void recover" })
        #expect(try await server.post("/api/users/x/recover?collection=nope").status == 404)
    }

    @Test(arguments: Engine.available)
    func `each collection has its own names, and admins theirs`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        _ = try await server.admin()
        _ = try await server.post("/api/users/\(TestServer.adminEmail)/recover").data()
        #expect(try await server.mails() == ["void recover"])
        _ = try await server.post("/api/users/\(TestServer.adminEmail)/recover?collection=_admins").data()
        #expect(try await server.mails().contains("recover \(TestServer.adminEmail)"))
    }
}
