import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct AuditChainTests {
    /// What somebody who can write the database does to it.
    private struct Tampering: Sendable, CustomStringConvertible {
        let description: String
        let statements: [String]
        /// What the report must name.
        let told: String
    }

    private static let tamperings = [
        Tampering(
            description: "edits a detail",
            statements: ["UPDATE audit_log SET details = '{}' WHERE position = 3"],
            told: "Row 3, "
        ),
        Tampering(
            description: "edits an actor",
            statements: ["UPDATE audit_log SET actor_id = NULL WHERE position = 3"],
            told: "Row 3, "
        ),
        Tampering(
            description: "edits a time",
            statements: ["UPDATE audit_log SET at = at + 1 WHERE position = 1"],
            told: "Row 1, "
        ),
        Tampering(
            description: "edits an outcome",
            statements: ["UPDATE audit_log SET outcome = 'success' WHERE outcome = 'failure'"],
            told: "was altered"
        ),
        Tampering(
            description: "deletes one",
            statements: ["DELETE FROM audit_log WHERE position = 4"],
            told: "Row 4 is missing"
        ),
        Tampering(
            description: "deletes one and closes the gap",
            statements: [
                "DELETE FROM audit_log WHERE position = 4",
                "UPDATE audit_log SET position = -position WHERE position > 4",
                "UPDATE audit_log SET position = -position - 1 WHERE position < 0",
            ],
            told: "Row 4, "
        ),
        Tampering(
            description: "deletes the first",
            statements: ["DELETE FROM audit_log WHERE position = 1"],
            told: "Row 1 is missing"
        ),
        Tampering(
            description: "swaps two",
            statements: [
                "UPDATE audit_log SET position = -3 WHERE position = 3",
                "UPDATE audit_log SET position = 3 WHERE position = 4",
                "UPDATE audit_log SET position = 4 WHERE position = -3",
            ],
            told: "Row 3, "
        ),
        Tampering(
            description: "adds one of their own",
            statements: [
                """
                INSERT INTO audit_log (id, at, action, ip, outcome, details)
                VALUES ('01890000-0000-7000-8000-000000000000', 1, 'user.created', 'local', 'success', '{}')
                """
            ],
            told: "not written by this installation"
        ),
        Tampering(
            description: "adds a copy of another",
            statements: [
                """
                INSERT INTO audit_log (id, at, action, ip, outcome, details, mac, position, link)
                SELECT '01890000-0000-7000-8000-000000000000', at, action, ip, outcome, details, mac, 100, link
                FROM audit_log WHERE position = 2
                """
            ],
            told: "is missing"
        ),
    ]

    /// A server on which some things have happened, and are linked.
    private func busy(_ engine: Engine) async throws -> TestServer {
        let server = try await TestServer(engine)
        _ = try await server.admin()
        try await server.signUp("ada@example.org")
        let wrong: JSON = ["email": "ada@example.org", "password": "wrong wrong"]
        _ = try await server.post("/api/auth/users/login", wrong)
        _ = try await server.signIn("ada@example.org")
        try await server.app.chain.link()
        return server
    }

    private func report(_ server: TestServer, _ checkpoint: AuditCheckpoint? = nil) async throws
        -> AuditVerification.Report
    {
        try await AuditVerification(services: server.services).run(against: checkpoint)
    }

    @Test(arguments: Engine.available)
    func `what was not touched is sound, linked or not`(_ engine: Engine) async throws {
        let server = try await busy(engine)
        let linked = try await server.audit().count
        _ = try await server.signIn("ada@example.org")
        let found = try await report(server)
        #expect((found.problem, found.linked, found.waiting) == (nil, Int64(linked), 1))
        #expect(try await server.app.chain.link() == 1)
        #expect(try await server.app.chain.link() == 0)
        #expect(try await report(server).linked == Int64(linked + 1))
        let positions: [Int64] = try await server.services.db.read { tx in
            try tx.all("SELECT position FROM audit_log ORDER BY sequence").map { try $0.get("position") }
        }
        #expect(positions == (1...Int64(linked + 1)).map { $0 })
    }

    @Test(arguments: Engine.available, tamperings)
    private func `whoever tampers with it is found out, before and after more is linked`(
        _ engine: Engine,
        _ tampering: Tampering
    ) async throws {
        let server = try await busy(engine)
        #expect(try await report(server).problem == nil)
        let statements = tampering.statements
        try await server.services.db.write { tx in
            for statement in statements { _ = try tx.connection.run(statement, []) }
        }
        let problem = try await report(server).problem
        #expect(problem?.contains(tampering.told) == true, "\(problem ?? "nothing")")
        _ = try await server.signIn("ada@example.org")
        _ = try? await server.app.chain.link()
        #expect(try await report(server).problem == problem)
    }

    @Test(arguments: Engine.available)
    func `an edit of a row that is not linked yet is found too`(_ engine: Engine) async throws {
        let server = try await busy(engine)
        _ = try await server.signIn("ada@example.org")
        try await server.services.db.run("UPDATE audit_log SET ip = '192.0.2.99' WHERE position IS NULL")
        #expect(try await report(server).problem?.contains("not linked yet") == true)
        try await server.app.chain.link()
        #expect(try await report(server).problem?.contains("was altered") == true)
    }

    @Test(arguments: Engine.available)
    func `rows cut off the end are found by a checkpoint that was kept`(_ engine: Engine) async throws {
        let server = try await busy(engine)
        let checkpoint = try #require(try await server.app.chain.checkpoint())
        let kept = try #require(AuditCheckpoint(json: JSON(parsing: checkpoint.json.serialized) ?? .null))
        #expect(try await report(server, kept).problem == nil)
        try await server.services.db.run("DELETE FROM audit_log WHERE position >= \(checkpoint.position - 1)")
        #expect(try await report(server).problem == nil)
        #expect(try await report(server, kept).problem?.contains("were removed") == true)
        // Others take their places.
        for _ in 0..<3 { _ = try await server.signIn("ada@example.org") }
        try await server.app.chain.link()
        #expect(try await report(server).problem == nil)
        #expect(try await report(server, kept).problem?.contains("is not the one of the checkpoint") == true)
    }

    @Test(arguments: Engine.available)
    func `a checkpoint of somebody else's, or altered, is none`(_ engine: Engine) async throws {
        let server = try await busy(engine)
        let own = try #require(try await server.app.chain.checkpoint())
        let other = try #require(try await busy(engine).app.chain.checkpoint())
        #expect(try await report(server, other).problem?.contains("not signed by this installation") == true)
        let altered = AuditCheckpoint(
            position: own.position - 1,
            link: own.link,
            time: own.time,
            key: own.key,
            signature: own.signature
        )
        #expect(try await report(server, altered).problem?.contains("was altered") == true)
    }

    @Test(arguments: Engine.available)
    func `rows of a version without a chain are taken in, once`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        try await server.services.db.run("UPDATE audit_log SET mac = NULL")
        let waiting = try await report(server)
        #expect(waiting.problem == nil && waiting.waiting > 0)
        try await server.app.chain.link()
        #expect(try await report(server).problem == nil)
        _ = try await server.signIn("ada@example.org")
        try await server.services.db.run("UPDATE audit_log SET mac = NULL WHERE position IS NULL")
        try await server.app.chain.link()
        #expect(try await report(server).problem?.contains("not written by this installation") == true)
    }

    @Test(arguments: Engine.available)
    func `rows that are written while others are linked all get a place`(_ engine: Engine) async throws {
        let server = try await busy(engine)
        try await withThrowingTaskGroup { group in
            for number in 0..<24 { group.addTask { _ = try await server.signUp("user\(number)@example.org") } }
            for _ in 0..<6 { group.addTask { _ = try? await server.app.chain.link() } }
            try await group.waitForAll()
        }
        try await server.app.chain.link()
        let found = try await report(server)
        #expect((found.problem, found.waiting) == (nil, 0))
        #expect(found.linked == Int64(try await server.audit().count))
    }

    @Test(arguments: Engine.available)
    func `admins find what they look for, and nobody else does`(_ engine: Engine) async throws {
        let server = try await busy(engine)
        let admin = try await server.admin()
        let ada = try await server.services.db.read { tx in
            try tx.one("SELECT id FROM users WHERE email = 'ada@example.org'")?.get("id") as String?
        }
        func found(_ query: String) async throws -> [String] {
            let reply = try await server.get("/api/admin/audit?perPage=100" + query, token: admin)
            guard case .array(let rows) = try reply.data() else { return [] }
            return rows.compactMap { $0["action"]?.text }
        }
        let all = try await server.audit()
        #expect(try await found("") == all.reversed())
        #expect(try await found("&subject=\(ada ?? "")") == ["sign_in.succeeded", "sign_in.failed", "user.registered"])
        #expect(try await found("&action=sign_in.failed") == ["sign_in.failed"])
        let now = server.clock.now
        #expect(try await found("&from=\(now.rfc3339)").count == all.count)
        #expect(try await found("&to=\(now.rfc3339)") == [])
        #expect(try await found("&from=\(now.rfc3339)&to=\(now.advanced(bySeconds: 1).rfc3339)").count == all.count)
        #expect(try await found("&actor=\(ada ?? "")").count == 2)
        for query in ["actor=ada", "action=nonsense", "from=yesterday", "page=0"] {
            #expect(try await server.get("/api/admin/audit?" + query, token: admin).status == 422, "\(query)")
        }
        let user = try await server.signIn("ada@example.org")
        for path in ["/api/admin/audit", "/api/admin/audit/checkpoint", "/api/admin/logs"] {
            #expect(try await server.get(path, token: user).code == "forbidden")
            #expect(try await server.get(path).code == "unauthenticated")
        }
        let checkpoint = try await server.get("/api/admin/audit/checkpoint", token: admin).data()
        #expect(AuditCheckpoint(json: checkpoint) != nil)
    }
}
