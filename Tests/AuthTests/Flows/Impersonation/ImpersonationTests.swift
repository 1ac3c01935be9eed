import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct ImpersonationTests {
    private static let me = "/api/auth/me"

    private struct Case {
        let admin: String
        let adminID: String
        let id: String
        let own: String
        let path: String
    }

    private func prepared(on server: TestServer) async throws -> Case {
        let admin = try await server.admin()
        let own = try await server.signedUp("ada@example.org")
        let id = try await server.get(Self.me, token: own).data()["id"]?.text ?? ""
        let adminID = try await server.get(Self.me, token: admin).data()["id"]?.text ?? ""
        return Case(admin: admin, adminID: adminID, id: id, own: own, path: "/api/admin/impersonate/users/\(id)")
    }

    private func token(_ server: TestServer, _ ada: Case) async throws -> String {
        try await server.post(ada.path, token: ada.admin).data()["token"]?.text ?? ""
    }

    @Test(arguments: Engine.available)
    func `an admin acts as a user for an hour, and it says who does`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await prepared(on: server)
        let answer = try await server.post(ada.path, ["reason": "ticket 7"], token: ada.admin).data()
        #expect(answer["impersonated_by"]?.text == ada.adminID)
        #expect(answer["record"]?["id"]?.text == ada.id)
        #expect(answer["expires_at"] == server.clock.now.advanced(bySeconds: 3600).json)
        let token = answer["token"]?.text ?? ""
        let payload = try #require(Base64URL.decode(token.split(separator: ".")[1]).flatMap { JSON(parsing: $0) })
        #expect((payload["aud"], payload["id"]?.text) == ("user", ada.id))
        #expect(payload["impersonated_by"]?.text == ada.adminID)
        let me = try await server.get(Self.me, token: token).data()
        #expect((me["id"]?.text, me["impersonated_by"]?.text, me["amr"]) == (ada.id, ada.adminID, []))
        let rows: [String] = try await server.services.db.read { tx in
            try tx.all("SELECT details FROM audit_log WHERE action = 'impersonation.begun'").map {
                try $0.get("details")
            }
        }
        #expect(rows.count == 1 && rows[0].contains("ticket 7"))
        let listed = try await server.get("/api/auth/sessions", token: ada.own).data()
        guard case .array(let sessions) = listed else { throw Reply.Unexpected(description: "no list") }
        #expect(sessions.compactMap { $0["impersonated_by"]?.text } == [ada.adminID])
        #expect(try await server.mails().contains("notice ada@example.org"))
        server.clock.advance(seconds: 3600)
        #expect(try await server.get(Self.me, token: token).code == "session_ended")
    }

    @Test(arguments: Engine.available)
    func `what changes credentials, email or factors is closed to it, and so is going on`(_ engine: Engine) async throws
    {
        let server = try await TestServer(engine, settings: ["auth.anonymous.enabled": "1"])
        let ada = try await prepared(on: server)
        let token = try await token(server, ada)
        let record = "/api/records/users/\(ada.id)"
        let password: JSON = ["current_password": .string(TestServer.password), "password": "another good one"]
        let attempts: [(HTTPRequest.Method, String, JSON?)] = [
            (.post, "/api/auth/refresh", nil), (.post, "/api/auth/users/change-password", password),
            (.patch, record, ["email": "new@example.org"]), (.delete, record, nil),
            (.post, "/api/auth/users/totp/setup", nil), (.post, "/api/auth/users/totp/disable", ["code": "123456"]),
            (.post, "/api/users/me/secrets", ["type": "apikey"]), (.post, "/api/users/me/secrets", ["type": "mfa"]),
            (.post, "/api/users/me/api_key", nil), (.put, "/api/users/me/secrets/password", password),
            (.post, "/api/auth/reauthenticate", ["password": .string(TestServer.password)]),
            (.delete, "/api/auth/sessions?scope=all", nil), (.post, "/api/auth/file-token", ["resource": "x"]),
            (.post, ada.path, nil), (.post, "/api/auth/users/promote", password), (.get, "/api/admin/settings", nil),
        ]
        let before = try await server.count("SELECT count(*) AS count FROM audit_log")
        for (method, path, body) in attempts {
            let refused = try await server.send(method, path, body, token: token)
            #expect((refused.status, refused.code) == (403, "forbidden"), "\(method) \(path) \(refused.text)")
        }
        #expect(try await server.count("SELECT count(*) AS count FROM audit_log") == before)
        #expect(try await server.count("SELECT count(*) AS count FROM secrets WHERE user_id = \(ada.id)") == 1)
    }

    @Test(arguments: Engine.available)
    func `every audit row of it names the admin`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await prepared(on: server)
        let token = try await token(server, ada)
        _ = try await server.send(.patch, "/api/records/users/\(ada.id)", ["nick": "Ada"], token: token).data()
        _ = try await server.post("/api/auth/logout", token: token).data()
        #expect(try await server.get(Self.me, token: token).details?["reason"] == "logout")
        let rows: [(String, String?, String?)] = try await server.services.db.read { tx in
            try tx.all("SELECT * FROM audit_log WHERE auth_impersonated_by IS NOT NULL ORDER BY sequence").map { row in
                (try row.get("action"), try row.get("actor_id"), try row.get("auth_impersonated_by"))
            }
        }
        #expect(rows.map(\.0) == ["user.updated", "session.ended"])
        #expect(rows.allSatisfy { $0.1 == ada.id && $0.2 == ada.adminID })
        #expect(try await server.get(Self.me, token: ada.own).status == 200)
    }

    @Test(arguments: Engine.available)
    func `it ends with the admin's session, with their rights, and by the user`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await prepared(on: server)
        let byUser = try await token(server, ada)
        let session = try await server.get("/api/auth/sessions", token: ada.own).data()
        guard case .array(let sessions) = session else { throw Reply.Unexpected(description: "no list") }
        let lent = sessions.first { $0["impersonated_by"] != .null }?["id"]?.text ?? ""
        _ = try await server.send(.delete, "/api/auth/sessions/\(lent)", token: ada.own).data()
        #expect(try await server.get(Self.me, token: byUser).code == "session_ended")
        let second = try await token(server, ada)
        #expect(try await server.get(Self.me, token: second).status == 200)
        _ = try await server.post("/api/auth/logout", token: ada.admin).data()
        let refused = try await server.get(Self.me, token: second)
        #expect((refused.status, refused.code) == (401, "session_ended"))
    }

    @Test(arguments: Engine.available)
    func `only admins act, only as people of others' collections, and never as admins`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await prepared(on: server)
        #expect(try await server.post(ada.path).code == "unauthenticated")
        #expect(try await server.post(ada.path, token: ada.own).code == "forbidden")
        #expect(
            try await server.post("/api/admin/impersonate/_admins/\(ada.adminID)", token: ada.admin).code == "forbidden"
        )
        let unknown = "/api/admin/impersonate/users/\(UserID(at: server.clock.now, random: .system))"
        #expect(try await server.post(unknown, token: ada.admin).code == "not_found")
        let system: JSON = ["kind": "system", "username": "nightly"]
        let job = try await server.post("/api/admin/users/users", system, token: ada.admin).data()["id"]?.text ?? ""
        #expect(try await server.post("/api/admin/impersonate/users/\(job)", token: ada.admin).code == "forbidden")
        let key = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: ada.admin).data()["secret"]
        #expect(try await server.post(ada.path, token: key?.text).code == "session_required")
        #expect(try await server.post(ada.path, ["reason": 5], token: ada.admin).status == 422)
        let suspended: JSON = ["status": "suspended"]
        _ = try await server.send(.patch, "/api/admin/users/users/\(ada.id)", suspended, token: ada.admin).data()
        #expect(try await server.post(ada.path, token: ada.admin).code == "forbidden")
        try await server.set(["auth.impersonation.enabled": "0"])
        let off = try await server.post(ada.path, token: ada.admin)
        #expect((off.status, off.code) == (422, "feature_disabled"))
    }

    @Test(arguments: Engine.available)
    func `the user is told unless the setting is off`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.impersonation.notify": "0"])
        let ada = try await prepared(on: server)
        _ = try await token(server, ada)
        #expect(try await server.mails() == ["verify ada@example.org"])
    }
}
