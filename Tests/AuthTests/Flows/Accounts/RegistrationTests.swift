import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct RegistrationTests {
    private static let register = "/api/auth/users/register"

    @Test(arguments: Engine.available)
    func `a new account has its fields and nothing of its password`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let record = try await server.signUp(
            "Ada@Example.org",
            ["username": "ada", "nick": "Countess", "tags": ["a", 1, true]]
        )
        #expect(record["email"] == "Ada@Example.org")
        #expect(record["username"] == "ada")
        #expect(record["nick"] == "Countess")
        #expect(record["tags"] == ["a", 1, true])
        #expect(record["email_verified"] == false)
        #expect(record["kind"] == "human")
        #expect(UserID(rawValue: record["id"]?.text ?? "") != nil)
        #expect(try await server.audit() == ["settings.changed", "user.registered"])
    }

    @Test(arguments: Engine.available)
    func `an email and a username are taken in any case, once a collection`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await server.signUp("ada@example.org", ["username": "ada"])
        func body(_ email: String, _ username: String) -> JSON {
            ["email": .string(email), "username": .string(username), "password": .string(TestServer.password)]
        }
        let email = try await server.post(Self.register, body("ADA@Example.org", "other"))
        #expect((email.status, email.code) == (409, "email_taken"))
        let username = try await server.post(Self.register, body("other@example.org", "ADA"))
        #expect((username.status, username.code) == (409, "username_taken"))
        _ = try await server.post("/api/collections", ["name": "clients", "type": "auth"], token: admin).data()
        #expect(try await server.post("/api/auth/clients/register", body("ada@example.org", "ada")).status == 200)
        #expect(try await server.users() == 3)
    }

    @Test(arguments: Engine.available)
    func `two spellings that fold to one email are one`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("J\u{30C}@example.org")
        let body: JSON = ["email": "\u{1F0}@example.org", "password": .string(TestServer.password)]
        #expect(try await server.post(Self.register, body).code == "email_taken")
    }

    @Test(arguments: Engine.available)
    func `of 16 registrations of one email at once exactly one succeeds`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    try await server.post(
                        Self.register,
                        ["email": "ada@example.org", "password": .string(TestServer.password)]
                    ).status
                }
            }
            return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == [200: 1, 409: 15])
        #expect(try await server.count("SELECT count(*) AS count FROM secrets") == 1)
    }

    @Test(arguments: Engine.available)
    func `fields of the collection are validated as seed 002 shows`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let fields: JSON = [
            ["name": "email", "type": "email", "min": 6, "max": 64],
            ["name": "age", "type": "number", "required": true, "min": 18],
            ["name": "site", "type": "url"], ["name": "plan", "type": "select", "values": ["free", "pro"]],
            ["name": "badge", "type": "text", "unique": true, "pattern": "^[A-Z]+$"],
        ]
        _ = try await server.send(.patch, "/api/collections/users", ["fields": fields], token: admin).data()
        let short = try await server.post(Self.register, ["email": "a@b.c", "password": "secret123", "age": 20])
        #expect(short.status == 422)
        #expect(short.error == "validation failed")
        #expect(short.details == ["email": "must be at least 6 characters"])
        let many = try await server.post(
            Self.register,
            ["email": "x", "password": "short", "site": "ftp://x", "plan": "gold", "badge": "a1"]
        )
        #expect(
            many.details == [
                "age": "is required", "badge": "does not match the required pattern",
                "email": "must be a valid email address",
                "password": "must be at least 8 characters", "plan": "must be one of: free, pro",
                "site": "must be an http or https URL",
            ]
        )
        let good: JSON = ["email": "a@bc.de", "password": "secret123", "age": 18, "badge": "ABC"]
        let id = try await server.post(Self.register, good).data()["id"]?.text ?? ""
        let taken = try await server.post(
            Self.register,
            ["email": "b@bc.de", "password": "secret123", "age": 18, "badge": "ABC"]
        )
        #expect((taken.status, taken.code) == (409, "value_taken"))
        #expect(taken.details == ["badge": "is already taken"])
        let token = try await server.signIn("a@bc.de", password: "secret123")
        let path = "/api/records/users/\(id)"
        let wrong: [(JSON, JSON)] = [
            (["email": "a@b.c"], ["email": "must be at least 6 characters"]),
            (["age": 17], ["age": "must be at least 18"]),
            (["age": .null], ["age": "is required"]), (["age": "18"], ["age": "must be a number"]),
        ]
        for (change, details) in wrong {
            #expect(try await server.send(.patch, path, change, token: token).details == details)
        }
        #expect(
            try await server.send(.patch, path, ["age": 30, "site": "https://x.org/"], token: token).data()["age"] == 30
        )
    }

    @Test(arguments: Engine.available)
    func `reserved fields can't be set from outside, on any route`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        let before = try await server.get("/api/records/users/\(id)", token: token).data()
        for key in User.reservedKeys {
            let change: JSON = .object([MemberName(key): "x"])
            let patched = try await server.send(.patch, "/api/records/users/\(id)", change, token: token)
            #expect(patched.details == .object([MemberName(key): "can't be set"]), "\(key)")
            guard key != "password", case .object(let members) = change else { continue }
            let body: JSON = ["email": "eve@example.org", "password": .string(TestServer.password)]
            let registered = try await server.post(Self.register, body.merging(members))
            #expect(registered.details == .object([MemberName(key): "can't be set"]), "\(key)")
        }
        #expect(try await server.get("/api/records/users/\(id)", token: token).data() == before)
        #expect(try await server.users() == 1)
    }

    @Test(arguments: Engine.available)
    func `a closed collection and the admins take no registrations`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let body: JSON = ["email": "eve@example.org", "password": .string(TestServer.password)]
        #expect(try await server.post("/api/auth/_admins/register", body).code == "forbidden")
        _ = try await server.send(.patch, "/api/collections/users", ["options": ["registration": false]], token: admin)
            .data()
        #expect(try await server.post(Self.register, body).code == "forbidden")
        let opened = try await server.send(
            .patch,
            "/api/collections/_admins",
            ["options": ["registration": true]],
            token: admin
        )
        #expect(opened.code == "built_in")
        #expect(try await server.users() == 1)
    }

    @Test(arguments: Engine.available)
    func `unknown keys are kept, or refused where the collection says so`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        #expect(try await server.signUp("ada@example.org", ["nick": "a"])["nick"] == "a")
        let strict: JSON = ["options": ["additional_fields": false]]
        _ = try await server.send(.patch, "/api/collections/users", strict, token: admin).data()
        let refused = try await server.post(
            Self.register,
            ["email": "eve@example.org", "password": .string(TestServer.password), "nick": "e"]
        )
        #expect(refused.details == ["nick": "is not a field of users"])
        try await server.set(["password.min_length": "8"])
        let odd: JSON = ["email": "eve@example.org", "password": .string(TestServer.password), "1x": "e"]
        _ = try await server.send(
            .patch,
            "/api/collections/users",
            ["options": ["additional_fields": true]],
            token: admin
        ).data()
        #expect(try await server.post(Self.register, odd).status == 422)
        let large: JSON = [
            "email": "eve@example.org", "password": .string(TestServer.password),
            "big": .string(String(repeating: "x", count: 70_000)),
        ]
        #expect(try await server.post(Self.register, large).details == ["data": "must be at most 65536 bytes in all"])
    }

    /// PostgreSQL's indexes hold no long texts.
    @Test(arguments: Engine.available)
    func `a long value can be unique too`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let fields: JSON = ["fields": [["name": "essay", "type": "text", "unique": true]]]
        _ = try await server.send(.patch, "/api/collections/users", fields, token: server.admin()).data()
        // Of many letters, so that it can't be compressed below the limit.
        let letters = (0..<4000).map { number in UnicodeScalar(0x4E00 + number * 7919 % 20_000).map(String.init) ?? "" }
        let essay = letters.joined()
        try await server.signUp("ada@example.org", ["essay": .string(essay)])
        try await server.signUp("eve@example.org", ["essay": .string(essay + "!")])
        let body: JSON = ["email": "bob@example.org", "password": "secret123", "essay": .string(essay)]
        let reply = try await server.post("/api/auth/users/register", body)
        #expect(reply.status == 409)
        #expect(reply.code == "value_taken")
    }

    @Test(arguments: Engine.available)
    func `where accounts must not be told, a taken email gets the answer of a free one, and its owner a mail`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer(engine, settings: ["auth.enumeration_safe": "1"])
        try await server.signUp("ada@example.org")
        let body: JSON = ["email": "ADA@example.org", "password": "another good one", "nick": "Eve"]
        let reply = try await server.post(Self.register, body)
        let free = try await server.post(
            Self.register,
            ["email": "new@example.org", "password": "another good one", "nick": "Eve"]
        )
        guard case .object(let record)? = reply.json["data"], case .object(let other)? = free.json["data"] else {
            Issue.record("\(reply.text) \(free.text)")
            return
        }
        #expect((reply.status, free.status) == (200, 200))
        #expect(record.keys == other.keys)
        #expect(try await server.users() == 2)
        #expect(try await server.mails().contains("notice ada@example.org"))
        #expect(try await server.mail(to: "ada@example.org", .notice)["subject"] == "You already have an account")
        #expect(try await server.audit().filter { $0 == "registration.refused" }.count == 1)
        _ = try await server.signIn("ada@example.org")
    }

    @Test(arguments: Engine.available)
    func `without mail a taken email is told, since nobody else could be`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.enumeration_safe": "1"], host: "192.0.2.9")
        try await server.signUp("ada@example.org")
        let body: JSON = ["email": "ada@example.org", "password": "another good one"]
        #expect(try await server.post(Self.register, body).code == "email_taken")
    }

    @Test(arguments: Engine.available)
    func `a taken username or value is refused alike, whoever has the email`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.enumeration_safe": "1"])
        let fields: JSON = ["fields": [["name": "badge", "type": "text", "unique": true]]]
        _ = try await server.send(.patch, "/api/collections/users", fields, token: try await server.admin()).data()
        try await server.signUp("ada@example.org", ["username": "ada", "badge": "7"])
        for (key, code) in [("username", "username_taken"), ("badge", "value_taken")] {
            for email in ["ada@example.org", "free@example.org"] {
                let value: JSON = key == "username" ? "ADA" : "7"
                let body: JSON = ["email": .string(email), "password": "another good one", "\(key)": value]
                let reply = try await server.post(Self.register, body)
                #expect((reply.status, reply.code) == (409, code), "\(email) \(key)")
            }
        }
        #expect(try await server.audit().contains("registration.refused") == false)
    }

    @Test(arguments: Engine.available)
    func `an owner is not mailed without end`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.enumeration_safe": "1"])
        try await server.signUp("ada@example.org")
        for _ in 0..<(Outbox.floodMax + 3) {
            _ = try await server.post(Self.register, ["email": "ada@example.org", "password": "another good one"])
                .data()
        }
        #expect(try await server.mails().filter { $0 == "notice ada@example.org" }.count == Outbox.floodMax)
    }
}
