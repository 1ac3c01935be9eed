import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What is over is removed, in steps that a crash may part.
@Suite struct SweepTests {
    private static let day = 86_400

    private func count(_ server: TestServer) async throws -> [Int] {
        [
            try await server.count("SELECT count(*) AS count FROM sessions"),
            try await server.count("SELECT count(*) AS count FROM one_time_tokens"),
            try await server.count("SELECT count(*) AS count FROM lockouts"),
            try await server.count("SELECT count(*) AS count FROM secrets WHERE type = 'apikey'"),
            try await server.count("SELECT count(*) AS count FROM audit_budgets"),
            try await server.count("SELECT count(*) AS count FROM outbox"),
        ]
    }

    /// With many rows of every kind that end within a day.
    private func filled(_ engine: Engine) async throws -> TestServer {
        let server = try await TestServer(engine, settings: ["auth.user.window_seconds": "3600"])
        let token = try await server.signedUp("ada@example.org")
        let end = server.clock.now.advanced(bySeconds: 3600).rfc3339
        let key: JSON = ["type": "apikey", "name": "short", "expires_at": .string(end)]
        #expect(try await server.post("/api/users/me/secrets", key, token: token).status == 200)
        for _ in 0..<3 {
            _ = try await server.post(
                "/api/auth/users/login",
                ["email": "nobody@example.org", "password": "wrong wrong"]
            )
            _ = try await server.post("/api/auth/users/request-password-reset", ["email": "ada@example.org"])
        }
        let user = try #require(
            try await server.services.db.read { tx in
                try tx.one("SELECT * FROM users WHERE email = 'ada@example.org'").map(User.init)
            }
        )
        let (now, random) = (server.clock.now, server.services.random)
        let sessions = (0..<200).map { _ in
            Session(
                SessionID(at: now, random: random),
                of: user,
                .user,
                by: Proof(subject: user.id, methods: [.password], at: now) { _ in true },
                from: .commandLine,
                at: now,
                until: now.advanced(bySeconds: 3600)
            )
        }
        try await server.services.db.write { tx in for session in sessions { try tx.insertSession(session) } }
        return server
    }

    @Test(arguments: Engine.available)
    func `everything that is over goes, whatever statement of a sweep fails before`(_ engine: Engine) async throws {
        let server = try await filled(engine)
        let before = try await count(server)
        #expect(before.allSatisfy { $0 > 0 }, "\(before)")
        try await server.sweeper.sweep()
        #expect(try await count(server)[0] == before[0])
        server.clock.advance(seconds: 33 * Self.day)
        for statement in [2, 5, 9, 12, 14] {
            server.faults.failWrite(statement)
            _ = try? await server.sweeper.sweep()
            server.faults.failWrite(nil)
        }
        try await server.sweeper.sweep()
        #expect(try await count(server) == [0, 0, 0, 0, 0, 0])
        #expect(try await server.users() == 1)
        let token = try await server.signIn("ada@example.org")
        try await server.sweeper.sweep()
        #expect(try await server.get("/api/auth/me", token: token).status == 200)
    }

    @Test(arguments: Engine.available)
    func `of many guests only those go who never came back`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: [
                "auth.anonymous.enabled": "1", "auth.anonymous.kept_days": "1", "auth.anonymous.window_seconds": "3600",
            ]
        )
        var tokens: [String] = []
        for _ in 0..<(3 * Guests.batchMax + 1) {
            tokens.append(try await server.post("/api/auth/users/anonymous").data()["token"]?.text ?? "")
        }
        try await server.set(["auth.anonymous.window_seconds": "864000"])
        var refreshed: String?
        for token in tokens.suffix(2) {
            refreshed = try await server.post("/api/auth/refresh", [:], token: token).data()["token"]?.text
        }
        server.clock.advance(seconds: 2 * Self.day)
        server.faults.failWrite(20)
        _ = try? await server.sweeper.sweep()
        server.faults.failWrite(nil)
        try await server.sweeper.sweep()
        #expect(try await server.users() == 2)
        #expect(try await server.get("/api/auth/me", token: refreshed).status == 200)
        #expect(try await server.audit().filter { $0 == "guest.removed" }.count == tokens.count - 2)
    }
}
