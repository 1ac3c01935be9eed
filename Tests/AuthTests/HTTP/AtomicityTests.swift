import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct AtomicityTests {
    /// An operation, and what it leaves when it succeeds.
    private struct Operation: Sendable, CustomStringConvertible {
        let description: String
        let method: HTTPRequest.Method
        let path: String
        let body: JSON?
        var isOpaque = false
    }

    private static let operations = [
        Operation(
            description: "register",
            method: .post,
            path: "/api/auth/users/register",
            body: ["email": "eve@example.org", "password": "secret123", "badge": "7"]
        ),
        Operation(
            description: "log in",
            method: .post,
            path: "/api/auth/users/login",
            body: ["email": "ada@example.org", "password": .string(TestServer.password)]
        ),
        Operation(
            description: "change the password",
            method: .post,
            path: "/api/auth/users/change-password",
            body: ["current_password": .string(TestServer.password), "password": "another good one"]
        ),
        Operation(description: "log out", method: .post, path: "/api/auth/logout", body: nil),
        Operation(description: "end all sessions", method: .delete, path: "/api/auth/sessions?scope=all", body: nil),
        Operation(description: "remove the account", method: .delete, path: "/api/records/users/:self", body: nil),
        Operation(
            description: "change the record",
            method: .patch,
            path: "/api/records/users/:self",
            body: ["badge": "8", "email": "x@example.org"]
        ),
        Operation(description: "ask to verify", method: .post, path: "/api/auth/users/request-verify", body: nil),
        Operation(
            description: "verify an email",
            method: .post,
            path: "/api/auth/users/verify-email",
            body: ["token": ":verify"]
        ),
        Operation(
            description: "ask for a reset",
            method: .post,
            path: "/api/auth/users/request-password-reset",
            body: ["email": "ada@example.org"]
        ),
        Operation(
            description: "ask for a reset of nobody",
            method: .post,
            path: "/api/auth/users/request-password-reset",
            body: ["email": "nobody@example.org"]
        ),
        Operation(
            description: "reset the password",
            method: .post,
            path: "/api/auth/users/confirm-password-reset",
            body: ["token": ":reset", "password": "another good one"]
        ),
        Operation(description: "ask for recovery", method: .post, path: "/api/users/:self/recover", body: nil),
        Operation(
            description: "ask for a code",
            method: .post,
            path: "/api/auth/users/otp/request",
            body: ["email": "ada@example.org"]
        ),
        Operation(
            description: "log in by a link",
            method: .post,
            path: "/api/auth/users/otp/auth",
            body: ["token": ":otp"]
        ),
        Operation(
            description: "make an API key",
            method: .post,
            path: "/api/users/me/secrets",
            body: ["type": "apikey"]
        ),
        Operation(description: "reassign an API key", method: .post, path: "/api/users/me/api_key", body: nil),
        Operation(
            description: "trust a device",
            method: .post,
            path: "/api/users/me/secrets",
            body: ["type": "device", "secret": "9f2c7a41d8e35b06c1f48a7392de5b60", "name": "phone"]
        ),
        Operation(
            description: "refresh an opaque token",
            method: .post,
            path: "/api/auth/refresh",
            body: nil,
            isOpaque: true
        ),
        Operation(
            description: "confirm an email",
            method: .post,
            path: "/api/auth/users/confirm-email-change",
            body: ["token": ":email_change"]
        ),
    ]

    /// Every table's rows, but for the failed attempts that are meant to stay.
    private func rows(_ server: TestServer) async throws -> [String] {
        try await server.services.db.read { tx in
            let tables: [(String, [String])] = try [
                (
                    "users",
                    tx.all("SELECT id, email, data, updated_at FROM users ORDER BY id").map {
                        try "\($0.get("email") as String?) \($0.get("data") as String)"
                    }
                ),
                ("secrets", tx.all("SELECT hash FROM secrets ORDER BY id").map { try $0.get("hash") as String }),
                (
                    "sessions",
                    tx.all("SELECT * FROM sessions ORDER BY id").map {
                        try "\($0.get("end_reason") as String?) \($0.get("access_tokens") as String?)"
                    }
                ),
                (
                    "unique",
                    tx.all("SELECT value FROM unique_values ORDER BY value").map { try $0.get("value") as String }
                ),
                (
                    "one-time",
                    tx.all("SELECT * FROM one_time_tokens ORDER BY digest").map {
                        try "\($0.get("purpose") as String) \($0.get("misses") as Int) \($0.get("used_at") as Int?)"
                    }
                ),
                ("outbox", tx.all("SELECT id FROM outbox ORDER BY id").map { try $0.get("id") as String }),
                (
                    "audit",
                    tx.all("SELECT action FROM audit_log ORDER BY sequence").map { try $0.get("action") as String }
                ),
            ]
            return tables.flatMap { name, rows in rows.map { "\(name): \($0)" } }
        }
    }

    @Test(arguments: Engine.available, operations)
    private func `a statement that fails leaves nothing half-written, whichever it is`(
        _ engine: Engine,
        _ operation: Operation
    ) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let admin = try await server.admin()
        let fields: JSON = ["fields": [["name": "badge", "type": "text", "unique": true]]]
        _ = try await server.send(.patch, "/api/collections/users", fields, token: admin).data()
        let jwt = try await server.signedUp("ada@example.org")
        let token = operation.isOpaque ? try await opaqueToken(server) : jwt
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let path = operation.path.replacing(":self", with: id)
        let body = try await withTokens(operation.body, server, id, token)
        for number in 1...30 {
            let before = try await rows(server)
            server.faults.failWrite(number)
            let reply = try await server.send(operation.method, path, body, token: token)
            let wasReached = server.faults.failWrite(nil)
            guard wasReached else {
                #expect(number > 1)
                #expect(reply.status == 200)
                #expect(try await rows(server) != before)
                return
            }
            #expect(reply.status == 500)
            #expect(reply.code == "unexpected")
            #expect(try await rows(server) == before, "statement \(number)")
        }
        Issue.record("the operation never succeeded")
    }

    private func opaqueToken(_ server: TestServer) async throws -> String {
        let body: JSON = [
            "email": "ada@example.org", "password": .string(TestServer.password), "token_type": "opaque",
        ]
        return try await server.post("/api/auth/users/login", body).data()["token"]?.text ?? ""
    }

    /// `:reset` and its like as the tokens that were mailed.
    private func withTokens(_ body: JSON?, _ server: TestServer, _ id: String, _ token: String) async throws -> JSON? {
        guard let name = body?["token"]?.text, let template = MailTemplate(rawValue: String(name.dropFirst())) else {
            return body
        }
        let email: JSON = ["email": "ada@example.org"]
        _ = try await server.post("/api/auth/users/request-password-reset", email).data()
        _ = try await server.post("/api/auth/users/otp/request", email).data()
        let new: JSON = ["email": "new@example.org"]
        _ = try await server.send(.patch, "/api/records/users/\(id)", new, token: token).data()
        let recipient = template == .emailChange ? "new@example.org" : "ada@example.org"
        let mailed = try await server.token(to: recipient, template)
        return JSON(parsing: body?.serialized.replacing(name, with: mailed) ?? "")
    }

    @Test(arguments: Engine.available)
    func `hostile bodies get a 4xx in the envelope and write nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let before = try await rows(server)
        let bodies: [(String, Int)] = [
            ("", 400), ("{", 400), (#"{"email":"#, 400), ("[]", 400), ("5", 400), ("null", 400),
            (#"{"email":"a@b.c","#, 400),
            (String(repeating: "[", count: 100_000), 400),
            (String(repeating: #"{"a":"#, count: 5000) + "1" + String(repeating: "}", count: 5000), 400),
            (#"{"email":1e999,"password":"secret123"}"#, 400), (#"{"email":"a@b.cd","password":5}"#, 422),
            (#"{"email":["a@b.cd"],"password":"secret123"}"#, 422),
            (#"{"email":"a@b.cd\u0000","password":"secret123"}"#, 422),
            (#"{"email":"a@b.cd","password":"secret\u0000123"}"#, 422),
            (#"{"email":"a@b.cd","password":"secret123","x":{"y":"\u0000"}}"#, 422),
            (#"{"email":"a@b.cd","password":"secret123","\u0000":1}"#, 422),
            (#"{"email":"a@b.cd\r\nBcc: x@y.zz","password":"secret123"}"#, 422),
        ]
        for route in ["/api/auth/users/register", "/api/admin/users/users", "/api/admin/admins"] {
            for (body, status) in bodies {
                let reply = try await server.send(.post, route, token: admin, raw: Array(body.utf8))
                #expect(reply.status == status, "\(route) \(body.prefix(60)) \(reply.text)")
                #expect(reply.code != nil && reply.error != nil && reply.json["request_id"] != nil)
            }
            let invalid = try await server.send(
                .post,
                route,
                token: admin,
                raw: [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D]
            )
            #expect(invalid.status == 400)
        }
        #expect(try await rows(server) == before)
    }
}
