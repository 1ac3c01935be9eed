import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What keeps the audit log from being filled.
@Suite struct AuditGrowthTests {
    @Test func `details are at most 1 KiB of JSON, whatever they are made of`() throws {
        let long = String(repeating: "\u{1}\"é\u{301}", count: 5000)
        let names = (0..<5000).map { "name\($0)" } + [long]
        let cases: [AuditDetails] = [
            [:], ["fields": .list(names)], ["text": .string(long)], ["fields": .list([long, long])],
            ["a": .list(names), "b": .string(long), "c": .string(long), "d": .string(long), "e": .list(names)],
            ["a": .list(Array(repeating: long, count: 100)), "b": .list(Array(repeating: long, count: 100))],
            ["a": .string(String(repeating: "é", count: 300)), "b": .integer(.max), "c": .null, "d": true],
        ]
        for details in cases {
            let text = details.with("api_key", .string("01890000-0000-7000-8000-000000000000")).serialized
            #expect(text.utf8.count <= AuditDetails.bytesMax, "\(text.utf8.count)")
            #expect(JSON(parsing: text)?["api_key"] != nil, "\(text)")
        }
        let listed = try #require(JSON(parsing: (["fields": .list(names)] as AuditDetails).serialized))
        guard case .array(let kept)? = listed["fields"], case .integer(let left)? = listed["fields_left_out"] else {
            Issue.record("\(listed.serialized)")
            return
        }
        #expect(kept.first == "name0" && kept.count > 20)
        #expect(kept.count + Int(left) == names.count)
    }

    @Test(arguments: Engine.available)
    func `a change of thousands of fields leaves a small row`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let ada = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        let token = try await server.signIn("ada@example.org")
        var fields: JSON = [:]
        for number in 0..<400 { fields = fields.with("some_rather_long_name_of_a_field_\(number)", "x") }
        let path = "/api/records/users/\(ada)"
        #expect(try await server.send(.patch, path, fields, token: token).status == 200)
        let rows = try await server.services.db.read { tx in
            try tx.all("SELECT details FROM audit_log").map { try $0.get("details", as: String.self) }
        }
        #expect(rows.allSatisfy { $0.utf8.count <= AuditDetails.bytesMax })
        #expect(rows.contains { $0.contains("fields_left_out") })
    }

    @Test(arguments: Engine.available)
    func `what changes nothing writes nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let ada = try await server.signUp("ada@example.org", ["city": "London"])["id"]?.text ?? ""
        let token = try await server.signIn("ada@example.org")
        try await server.set(["app.url": "https://example.org", "smtp.pass": "secret"])
        let path = "/api/records/users/\(ada)"
        let record = try await server.get(path, token: token).data()
        let collection = try await server.get("/api/collections/users", token: admin).data()
        let before = try await server.audit()
        server.clock.advance(seconds: 5)
        let same: JSON = ["city": "London", "email": "ada@example.org", "unknown": .null]
        #expect(try await server.send(.patch, path, same, token: token).data()["updated_at"] == record["updated_at"])
        let byAdmin: JSON = ["status": "active", "city": "London"]
        #expect(try await server.send(.patch, "/api/admin/users/users/\(ada)", byAdmin, token: admin).status == 200)
        #expect(try await server.send(.patch, "/api/collections/users", collection, token: admin).data() == collection)
        try await server.set(["app.url": "https://example.org", "smtp.pass": "secret", "smtp.user": nil])
        let others = try await server.send(.delete, "/api/auth/sessions?scope=others", token: token)
        #expect(others.status == 200)
        #expect(try await server.audit() == before)
        #expect(try await server.get(path, token: token).data()["updated_at"] == record["updated_at"])
        // A change of one of many is told by its name alone.
        _ = try await server.send(.patch, path, ["city": "Paris", "email": "ada@example.org"], token: token).data()
        #expect(try await server.audit().count == before.count + 1)
        #expect(try await details(server, .userUpdated).last == #"{"fields":["city"]}"#)
    }

    @Test(arguments: Engine.available)
    func `an address causes a bounded number of rows an hour, and the log tells how many more there were`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine, settings: ["auth.lockout.max_attempts": "0"])
        _ = try await server.admin()
        let extra = 7
        for number in 0..<AuditBudget.strangerRowsPerHourMax + extra {
            let body: JSON = ["email": .string("user\(number)@example.org")]
            _ = try await server.post("/api/auth/users/request-password-reset", body)
        }
        func count(_ event: AuditEvent) async throws -> Int {
            try await server.audit().filter { $0 == event.rawValue }.count
        }
        #expect(try await count(.passwordResetRequested) == AuditBudget.strangerRowsPerHourMax)
        #expect(try await count(.budgetReached) == 1)
        // Other events and other addresses have budgets of their own.
        let wrong: JSON = ["email": "user@example.org", "password": "wrong wrong"]
        _ = try await server.post("/api/auth/users/login", wrong)
        #expect(try await count(.signInFailed) == 1)
        let body: JSON = ["email": "user@example.org"]
        _ = try await server.send(.post, "/api/auth/users/request-password-reset", body, from: "198.51.100.7")
        #expect(try await count(.passwordResetRequested) == AuditBudget.strangerRowsPerHourMax + 1)
        try await server.sweeper.sweep()
        #expect(try await count(.rowsWithheld) == 0)
        server.clock.advance(seconds: 3600)
        try await server.sweeper.sweep()
        #expect(try await count(.rowsWithheld) == 1)
        #expect(try await details(server, .rowsWithheld).first?.contains(#""count":\#(extra)"#) == true)
        // The next hour has a budget again.
        _ = try await server.post("/api/auth/users/request-password-reset", body)
        #expect(try await count(.passwordResetRequested) == AuditBudget.strangerRowsPerHourMax + 2)
        try await server.app.chain.link()
        #expect(try await AuditVerification(services: server.services).run(against: nil).problem == nil)
    }

    @Test(arguments: Engine.available)
    func `the owner of an account has a budget too, and nodes share it`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let ada = try await nodes[0].signUp("ada@example.org")["id"]?.text ?? ""
        let token = try await nodes[0].signIn("ada@example.org")
        for number in 0..<AuditBudget.ownerRowsPerHourMax + 3 {
            let body: JSON = ["city": .string("\(number)")]
            let reply = try await nodes[number % 2].send(.patch, "/api/records/users/\(ada)", body, token: token)
            #expect(reply.status == 200)
        }
        let updates = try await nodes[0].audit().filter { $0 == AuditEvent.userUpdated.rawValue }
        #expect(updates.count == AuditBudget.ownerRowsPerHourMax)
        // What an admin does to the account is told all the same.
        let admin = try await nodes[0].admin()
        let path = "/api/admin/users/users/\(ada)"
        #expect(try await nodes[0].send(.patch, path, ["city": "Rome"], token: admin).status == 200)
        let after = try await nodes[0].audit().filter { $0 == AuditEvent.userUpdated.rawValue }
        #expect(after.count == updates.count + 1)
    }

    private func details(_ server: TestServer, _ event: AuditEvent) async throws -> [String] {
        try await server.services.db.read { tx in
            try tx.all("SELECT details FROM audit_log WHERE action = \(event.rawValue) ORDER BY sequence").map {
                try $0.get("details")
            }
        }
    }
}
