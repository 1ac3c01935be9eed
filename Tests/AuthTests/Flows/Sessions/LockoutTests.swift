import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct LockoutTests {
    private static let login = "/api/auth/users/login"

    private func attempt(_ server: TestServer, _ email: String, _ password: String, from address: String = "192.0.2.1")
        async throws -> Reply
    {
        try await server.send(
            .post,
            Self.login,
            ["email": .string(email), "password": .string(password)],
            from: address
        )
    }

    @Test(arguments: Engine.available)
    func `after ten failures an account is locked, for the right password too, and the lock ends`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        for _ in 0..<10 { #expect(try await attempt(server, "ada@example.org", "wrong wrong").status == 401) }
        for password in ["wrong wrong", TestServer.password] {
            let refused = try await attempt(server, "ada@example.org", password, from: "198.51.100.7")
            #expect(refused.status == 429)
            #expect(refused.code == "locked_out")
            #expect(refused.headers[.retryAfter] == "900")
        }
        let audit = try await server.audit()
        #expect(audit.filter { $0 == "sign_in.failed" }.count == 10)
        #expect(audit.filter { $0 == "sign_in.locked" }.count == 1)
        server.clock.advance(seconds: 900)
        #expect(try await attempt(server, "ada@example.org", TestServer.password).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a lock that began under a clock that was ahead lasts no longer than the setting`(_ engine: Engine)
        async throws
    {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        for _ in 0..<10 { #expect(try await attempt(server, "ada@example.org", "wrong wrong").status == 401) }
        server.clock.advance(seconds: -26 * 3600)
        let refused = try await attempt(server, "ada@example.org", TestServer.password)
        #expect((refused.status, refused.headers[.retryAfter]) == (429, "900"))
        server.clock.advance(seconds: 899)
        #expect(try await attempt(server, "ada@example.org", TestServer.password).headers[.retryAfter] == "1")
        server.clock.advance(seconds: 1)
        #expect(try await attempt(server, "ada@example.org", TestServer.password).status == 200)
    }

    @Test(arguments: Engine.available)
    func `an unknown name is locked just like an account`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "3"])
        try await server.signUp("ada@example.org")
        var replies: [[String?]] = []
        for email in ["ada@example.org", "nobody@example.org", "NOBODY@example.org"] {
            var codes: [String?] = []
            for _ in 0..<4 { codes.append(try await attempt(server, email, "wrong wrong").code) }
            replies.append(codes)
        }
        #expect(replies[0] == ["invalid_credentials", "invalid_credentials", "invalid_credentials", "locked_out"])
        #expect(replies[1] == replies[0])
        // The same name in other letters: locked already.
        #expect(replies[2] == Array(repeating: "locked_out", count: 4))
    }

    @Test(arguments: Engine.available)
    func `success forgets the failures`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "3"])
        try await server.signUp("ada@example.org")
        for _ in 0..<3 {
            for _ in 0..<2 { _ = try await attempt(server, "ada@example.org", "wrong wrong") }
            #expect(try await attempt(server, "ada@example.org", TestServer.password).status == 200)
        }
    }

    @Test(arguments: Engine.available)
    func `an address is locked after ten times as many failures, whatever the account`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "2"])
        try await server.signUp("ada@example.org")
        for number in 0..<20 { _ = try await attempt(server, "guess\(number)@example.org", "wrong wrong") }
        #expect(try await attempt(server, "ada@example.org", TestServer.password).code == "locked_out")
        #expect(try await attempt(server, "ada@example.org", TestServer.password, from: "198.51.100.7").status == 200)
    }

    @Test(arguments: Engine.available)
    func `a suspended account is locked by right passwords as by wrong ones`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "3"])
        let admin = try await server.admin()
        for (email, password) in [("ada@example.org", TestServer.password), ("eve@example.org", "wrong wrong")] {
            let id = try await server.signUp(email)["id"]?.text ?? ""
            let path = "/api/admin/users/users/\(id)"
            _ = try await server.send(.patch, path, ["status": "suspended"], token: admin).data()
            var codes: [String?] = []
            for _ in 0..<4 { codes.append(try await attempt(server, email, password).code) }
            #expect(codes == Array(repeating: "invalid_credentials", count: 3) + ["locked_out"])
        }
    }

    @Test(arguments: Engine.available)
    func `a name sent as another kind tells nothing of who has an account`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "3"])
        try await server.signUp("ada@example.org")
        var answers: [[String?]] = []
        for email in ["ada@example.org", "nobody@example.org"] {
            var codes: [String?] = []
            for key in ["username", "username", "username", "username", "email", "identity"] {
                codes.append(
                    try await server.post(Self.login, .object([MemberName(key): .string(email), "password": "x"])).code
                )
            }
            answers.append(codes)
        }
        #expect(answers[0] == answers[1])
        #expect(answers[0].contains("locked_out"))
    }

    @Test(arguments: Engine.available)
    func `a password change that comes after the lock changes nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "5"])
        let token = try await server.signedUp("ada@example.org")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<30 {
                let current = number == 29 ? TestServer.password : "wrong \(number)"
                group.addTask {
                    let body: JSON = ["current_password": .string(current), "password": "a new good one"]
                    _ = try await server.post("/api/auth/users/change-password", body, token: token)
                }
            }
            try await group.waitForAll()
        }
        // Whichever came first: either all of the change happened, or none of it.
        let isChanged = try await server.audit().contains("password.changed")
        #expect(try await server.get("/api/auth/me", token: token).status == (isChanged ? 401 : 200))
        let ended = try await server.count("SELECT count(*) AS count FROM sessions WHERE ended_at IS NOT NULL")
        #expect(ended == (isChanged ? 1 : 0))
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == (isChanged ? 2 : 1))
    }

    @Test(arguments: Engine.available)
    func `zero attempts turn it off`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "0"])
        try await server.signUp("ada@example.org")
        for _ in 0..<12 { #expect(try await attempt(server, "ada@example.org", "wrong wrong").status == 401) }
        #expect(try await attempt(server, "ada@example.org", TestServer.password).status == 200)
        #expect(try await server.count("SELECT count(*) AS count FROM lockouts") == 0)
    }

    @Test(arguments: Engine.available)
    func `of many guesses at once only as many are judged as the limit permits, give or take the threads`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "5"])
        try await server.signUp("ada@example.org")
        let codes = try await withThrowingTaskGroup(of: String?.self) { group in
            for number in 0..<40 {
                group.addTask {
                    try await attempt(server, "ada@example.org", "wrong \(number)", from: "192.0.2.\(number)").code
                }
            }
            return try await group.reduce(into: [String?]()) { $0.append($1) }
        }
        #expect(Set(codes).isSubset(of: ["invalid_credentials", "locked_out"]))
        #expect(codes.filter { $0 == "invalid_credentials" }.count >= 5)
        // Whatever was under way when the lock fell, a right password is refused from then on.
        #expect(try await attempt(server, "ada@example.org", TestServer.password).code == "locked_out")
        #expect(try await server.count("SELECT count(*) AS count FROM sessions") == 0)
    }

    @Test(arguments: Engine.available)
    func `a wrong current password counts like a failed sign-in`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "2"])
        let token = try await server.signedUp("ada@example.org")
        let body: JSON = ["current_password": "wrong wrong", "password": "another good one"]
        for _ in 0..<2 {
            #expect(
                try await server.post("/api/auth/users/change-password", body, token: token).code
                    == "invalid_credentials"
            )
        }
        #expect(try await server.post("/api/auth/users/change-password", body, token: token).code == "locked_out")
        #expect(try await attempt(server, "ada@example.org", TestServer.password).code == "locked_out")
    }
}
