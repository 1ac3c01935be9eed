import HTTPTypes
import StorageTesting
import Testing

@testable import Auth

@Suite struct AdminTests {
    @Test(arguments: Engine.available)
    func `the printed token makes the first admin, once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let first = try #require(try await server.app.setUp.issueToken())
        let token = try #require(try await server.app.setUp.issueToken())
        #expect(try await server.get("/api/admin/setup/status").data() == ["has_admin": false])
        func setUp(_ token: String, _ password: String = TestServer.password) async throws -> Reply {
            try await server.post(
                "/api/admin/setup",
                ["email": "root@example.org", "password": .string(password), "setup_token": .string(token)]
            )
        }
        // Each print kills the one before.
        for wrong in [first.text, "x", token.text + "A", String(token.text.dropLast())] {
            #expect(try await setUp(wrong).code == "invalid_one_time_token")
        }
        #expect(try await setUp(token.text, "short").status == 422)
        #expect(try await setUp(token.text).data()["collection"] == "_admins")
        let again = try await setUp(token.text)
        #expect((again.status, again.code) == (400, "already_set_up"))
        #expect(try await server.get("/api/admin/setup/status").data() == ["has_admin": true])
        #expect(try await server.app.setUp.issueToken() == nil)
        #expect(try await server.users() == 1)
        #expect(try await server.audit().last == "admin.set_up")
    }

    @Test(arguments: Engine.available)
    func `of 16 set-ups at once exactly one makes an admin`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try #require(try await server.app.setUp.issueToken()).text
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<16 {
                group.addTask {
                    try await server.post(
                        "/api/admin/setup",
                        [
                            "email": .string("root\(number)@example.org"), "password": .string(TestServer.password),
                            "setup_token": .string(token),
                        ]
                    ).status
                }
            }
            return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == [200: 1, 400: 15])
        #expect(try await server.users() == 1)
    }

    @Test(arguments: Engine.available)
    func `the set-up token expires`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try #require(try await server.app.setUp.issueToken()).text
        server.clock.advance(seconds: SingleUsePurpose.setUp.lifetimeSeconds)
        let body: JSON = [
            "email": "root@example.org", "password": .string(TestServer.password), "setup_token": .string(token),
        ]
        #expect(try await server.post("/api/admin/setup", body).code == "invalid_one_time_token")
        #expect(try await server.users() == 0)
    }

    @Test(arguments: Engine.available)
    func `the set-up page shows its form, its problems, and its end`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try #require(try await server.app.setUp.issueToken()).text
        let page = try await server.get("/setup?token=\(token)%22%3E%3Cscript%3E")
        #expect(page.headers[.contentType] == "text/html; charset=utf-8")
        #expect(page.headers[.contentSecurityPolicy]?.hasPrefix("default-src 'none'; style-src 'sha256-") == true)
        #expect(!page.text.contains("<script>"))
        func submit(_ password: String) async throws -> Reply {
            let form = "email=root%40example.org&password=\(password)&setup_token=\(token)"
            return try await server.send(
                .post,
                "/setup",
                headers: [.contentType: "application/x-www-form-urlencoded"],
                raw: Array(form.utf8)
            )
        }
        let refused = try await submit("short")
        #expect(refused.status == 422)
        #expect(refused.text.contains("The password must be at least 8 characters."))
        #expect(refused.text.contains("root@example.org"))
        #expect(try await submit("correct+horse").text.contains("This server is set up"))
        let login: JSON = ["email": "root@example.org", "password": "correct horse"]
        #expect(try await server.post("/api/admin/auth/login", login).status == 200)
        #expect(try await server.get("/setup").text.contains("This server is set up"))
    }

    @Test(arguments: Engine.available)
    func `an admin's token is of the audience admin, and a user's opens no admin route`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let user = try await server.signedUp("ada@example.org")
        #expect(try await server.get("/api/admin/auth/me", token: admin).data()["aud"] == "admin")
        for route in server.app.routes where route.admits == .admin {
            let path = route.path.replacing(":col", with: "users").replacing(":id", with: "users")
            let forbidden = try await server.send(route.method, path, [:], token: user)
            #expect((forbidden.status, forbidden.code) == (403, "forbidden"), "\(route.method) \(path)")
            let unauthenticated = try await server.send(route.method, path, [:])
            #expect(
                (unauthenticated.status, unauthenticated.code) == (401, "unauthenticated"),
                "\(route.method) \(path)"
            )
            #expect(unauthenticated.headers[.wwwAuthenticate] == #"Bearer realm="latchkey""#)
        }
    }

    @Test(arguments: Engine.available)
    func `the last admin can't be removed or suspended, nor oneself`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let own = try await server.get("/api/auth/me", token: admin).data()["id"]?.text ?? ""
        let admins = "/api/admin/admins"
        #expect(try await server.send(.delete, "\(admins)/\(own)", token: admin).status == 409)
        #expect(try await server.send(.delete, "/api/records/_admins/\(own)", token: admin).code == "last_admin")
        #expect(
            try await server.send(.patch, "\(admins)/\(own)", ["status": "suspended"], token: admin).code
                == "last_admin"
        )
        let second: JSON = ["email": "two@example.org", "password": .string(TestServer.password)]
        let other = try await server.post(admins, second, token: admin).data()["id"]?.text ?? ""
        #expect(try await server.send(.delete, "\(admins)/\(own)", token: admin).status == 409)
        #expect(try await server.send(.delete, "\(admins)/\(other)", token: admin).status == 200)
        #expect(
            try await server.post(admins, ["email": "x@example.org", "kind": "system"], token: admin).status == 422
        )
    }

    @Test(arguments: Engine.available)
    func `suspension ends every session at once, and lifting it revives none`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let path = "/api/admin/users/users/\(id)"
        _ = try await server.send(.patch, path, ["status": "suspended"], token: admin).data()
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "suspended"])
        _ = try await server.send(.patch, path, ["status": "active"], token: admin).data()
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "suspended"])
        _ = try await server.signIn("ada@example.org")
        #expect(try await server.audit().filter { $0 == "user.status_changed" }.count == 2)
    }

    @Test(arguments: Engine.available)
    func `an admin makes both kinds of users and sets what their owners can't`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let users = "/api/admin/users/users"
        let job = try await server.post(users, ["kind": "system", "username": "nightly"], token: admin).data()
        #expect(job["kind"] == "system")
        #expect(job["email"] == .null)
        #expect(try await server.post(users, ["kind": "system", "password": "secret123"], token: admin).status == 422)
        #expect(
            try await server.post(users, ["kind": "robot"], token: admin).details?["kind"]
                == "must be one of: human, system"
        )
        #expect(try await server.post(users, ["email": "a@b.org"], token: admin).details == ["password": "is required"])
        let human: JSON = [
            "email": "ada@example.org", "password": .string(TestServer.password), "email_verified": true,
        ]
        let ada = try await server.post(users, human, token: admin).data()
        #expect(ada["email_verified"] == true)
        let token = try await server.signIn("ada@example.org")
        let path = "\(users)/\(ada["id"]?.text ?? "")"
        _ = try await server.send(.patch, path, ["password": "another good one"], token: admin).data()
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "password_changed"])
        _ = try await server.signIn("ada@example.org", password: "another good one")
        #expect(try await server.send(.patch, path, ["kind": "system"], token: admin).status == 422)
        #expect(try await server.send(.delete, path, token: admin).data() == ["deleted": true])
        #expect(try await server.send(.delete, path, token: admin).code == "not_found")
    }
}
