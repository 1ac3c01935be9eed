import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct ReauthenticationTests {
    private static let renew = "/api/auth/reauthenticate"

    private struct Ada {
        let record: String
        let token: String
    }

    private func ada(on server: TestServer) async throws -> Ada {
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        return Ada(record: "/api/records/users/\(id)", token: token)
    }

    @Test(arguments: Engine.available)
    func `what can't be taken back needs a session that was proved within ten minutes`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let change: JSON = ["email": "new@example.org"]
        server.clock.advance(seconds: 599)
        _ = try await server.send(.patch, ada.record, change, token: ada.token).data()
        server.clock.advance(seconds: 1)
        for method in [HTTPRequest.Method.patch, .delete] {
            let body: JSON? = method == .patch ? ["email": "other@example.org"] : nil
            let refused = try await server.send(method, ada.record, body, token: ada.token)
            #expect((refused.status, refused.code) == (401, "reauthentication_required"))
            #expect(refused.details?["methods"] == "password")
            #expect(refused.details?["max_age_seconds"] == "600")
        }
        let setUp = try await server.post("/api/auth/users/totp/setup", token: ada.token)
        #expect((setUp.status, setUp.code) == (401, "reauthentication_required"))
        _ = try await server.send(.patch, ada.record, ["nick": "Countess"], token: ada.token).data()
        #expect(try await server.post(Self.renew, ["password": "wrong wrong"], token: ada.token).status == 401)
        let right: JSON = ["password": .string(TestServer.password)]
        #expect(try await server.post(Self.renew, right, token: ada.token).data()["reauthenticated"] == true)
        _ = try await server.send(.delete, ada.record, token: ada.token).data()
        #expect(try await server.audit().filter { $0 == "session.reauthenticated" }.count == 1)
    }

    @Test(arguments: Engine.available)
    func `with a second factor the password is not enough, and a code in the request is`(_ engine: Engine) async throws
    {
        let server = try await TestServer(engine)
        let ada = try await ada(on: server)
        let totp = try await server.enrol(ada.token).totp
        server.clock.advance(seconds: 700)
        let header = try #require(HTTPField.Name("X-MFA-Code"))
        let change: JSON = ["email": "new@example.org"]
        let refused = try await server.send(.patch, ada.record, change, token: ada.token)
        #expect(refused.details?["methods"] == "code, recovery_code")
        let password: JSON = ["password": .string(TestServer.password)]
        #expect(try await server.post(Self.renew, password, token: ada.token).status == 422)
        let wrong = try await server.send(.patch, ada.record, change, token: ada.token, headers: [header: "000000"])
        #expect((wrong.status, wrong.code) == (401, "invalid_credentials"))
        let code = totp.code(at: TOTP.step(at: server.clock.now))
        let right = try await server.send(.patch, ada.record, change, token: ada.token, headers: [header: code])
        #expect(try right.data()["pending_email"] == "new@example.org")
        let spent = try await server.send(.delete, ada.record, token: ada.token, headers: [header: code])
        #expect(spent.status == 401)
        server.clock.advance(seconds: 30)
        let next: JSON = ["code": .string(totp.code(at: TOTP.step(at: server.clock.now)))]
        _ = try await server.post(Self.renew, next, token: ada.token).data()
        _ = try await server.send(.delete, ada.record, token: ada.token).data()
    }

    @Test func `what is sent must be a password or a factor`() async throws {
        let server = try await TestServer(.sqlite)
        let ada = try await ada(on: server)
        for body: JSON in [[:], ["password": "x", "code": "123456"], ["code": "1", "recovery_code": "2"]] {
            #expect(try await server.post(Self.renew, body, token: ada.token).status == 422, "\(body)")
        }
        #expect(try await server.post(Self.renew, [:]).status == 401)
    }

    @Test(arguments: Engine.available)
    func `an admin's own account is no exception`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let id = try await server.get("/api/auth/me", token: admin).data()["id"]?.text ?? ""
        let ada = try await ada(on: server)
        server.clock.advance(seconds: 600)
        let new: JSON = ["password": "another good one"]
        let attempts: [(HTTPRequest.Method, String, JSON?)] = [
            (.patch, "/api/admin/admins/\(id)", new), (.patch, "/api/admin/users/_admins/\(id)", new),
            (.post, "/api/admin/users/_admins/\(id)/disable-mfa", nil),
            (.post, "/api/admin/admins", ["email": "eve@example.org", "password": "another good one"]),
            (.delete, "/api/admin/admins/\(id)", nil),
        ]
        for (method, path, body) in attempts {
            let refused = try await server.send(method, path, body, token: admin)
            #expect((refused.status, refused.code) == (401, "reauthentication_required"), "\(path)")
        }
        let other = ada.record.replacing("/api/records/", with: "/api/admin/users/")
        _ = try await server.send(.patch, other, new, token: admin).data()
        let right: JSON = ["password": .string(TestServer.password)]
        _ = try await server.post(Self.renew, right, token: admin).data()
        _ = try await server.send(.patch, "/api/admin/admins/\(id)", new, token: admin).data()
    }
}
