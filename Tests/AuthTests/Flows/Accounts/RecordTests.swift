import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct RecordTests {
    @Test(arguments: Engine.available)
    func `a record is for its owner and for admins`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let ada = try await server.signedUp("ada@example.org")
        let eve = try await server.signedUp("eve@example.org")
        let id = try await server.get("/api/auth/me", token: ada).data()["id"]?.text ?? ""
        let path = "/api/records/users/\(id)"
        #expect(try await server.get(path).code == "unauthenticated")
        #expect(try await server.get(path, token: eve).code == "forbidden")
        #expect(try await server.send(.patch, path, ["nick": "x"], token: eve).code == "forbidden")
        #expect(try await server.send(.delete, path, token: eve).code == "forbidden")
        #expect(try await server.get(path, token: ada).status == 200)
        #expect(try await server.get(path, token: admin).status == 200)
        #expect(try await server.get("/api/records/users", token: eve).code == "forbidden")
        // The same id in another collection is somebody else.
        _ = try await server.post("/api/collections", ["name": "clients"], token: admin).data()
        #expect(try await server.get("/api/records/clients/\(id)", token: ada).code == "forbidden")
        #expect(try await server.get("/api/records/clients/\(id)", token: admin).code == "not_found")
    }

    @Test(arguments: Engine.available)
    func `a change is seen by the next request of every session`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let other = try await server.signIn("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        _ = try await server.get("/api/auth/me", token: other).data()
        server.clock.advance(seconds: 5)
        let path = "/api/records/users/\(id)"
        let changed = try await server.send(
            .patch,
            path,
            ["nick": "Countess", "username": "lovelace"],
            token: token
        ).data()
        #expect(changed["updated_at"] == server.clock.now.json)
        let me = try await server.get("/api/auth/me", token: other).data()
        #expect(me["nick"] == "Countess")
        #expect(me["username"] == "lovelace")
        _ = try await server.send(.patch, path, ["nick": .null], token: token).data()
        #expect(try await server.get("/api/auth/me", token: other).data()["nick"] == nil)
        #expect(try await server.audit().filter { $0 == "user.updated" }.count == 2)
    }

    @Test(arguments: Engine.available)
    func `without mail a changed email is in force at once, unverified`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, host: "192.0.2.9")
        let admin = try await server.admin()
        let id = try await server.signUp("ada@example.org")["id"]?.text ?? ""
        _ = try await server.send(.patch, "/api/admin/users/users/\(id)", ["email_verified": true], token: admin).data()
        let token = try await server.signIn("ada@example.org")
        #expect(try await server.get("/api/auth/me", token: token).data()["email_verified"] == true)
        let changed = try await server.send(
            .patch,
            "/api/records/users/\(id)",
            ["email": "new@example.org"],
            token: token
        ).data()
        #expect(changed["email_verified"] == false)
        _ = try await server.signIn("new@example.org")
        try await server.signUp("eve@example.org")
        let taken = try await server.send(
            .patch,
            "/api/records/users/\(id)",
            ["email": "EVE@example.org"],
            token: token
        )
        #expect((taken.status, taken.code) == (409, "email_taken"))
    }

    @Test(arguments: Engine.available)
    func `an account that its owner removes is gone with all that belongs to it`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        #expect(try await server.send(.delete, "/api/records/users/\(id)", token: token).data() == ["deleted": true])
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "deleted"])
        #expect(try await server.count("SELECT count(*) AS count FROM secrets") == 0)
        let again = try await server.post(
            "/api/auth/users/login",
            ["email": "ada@example.org", "password": .string(TestServer.password)]
        )
        #expect(again.status == 401)
        try await server.signUp("ada@example.org")
    }

    @Test(arguments: Engine.available)
    func `lists have pages and filters`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        for number in 1...5 {
            try await server.signUp("user\(number)@example.org", ["username": .string("user_\(number)")])
            server.clock.advance(seconds: 1)
        }
        let first = try await server.get("/api/records/users?perPage=2", token: admin)
        #expect(first.json["totalItems"] == 5)
        #expect(first.json["totalPages"] == 3)
        #expect(first.json["page"] == 1)
        #expect(first.json["perPage"] == 2)
        guard
            case .array(let last)? = try await server.get("/api/admin/users/users?page=3&perPage=2", token: admin).json[
                "data"
            ]
        else { return }
        #expect(last.map { $0["email"] } == ["user5@example.org"])
        for (filter, count) in [
            ("email%20%3D%20'USER3%40example.org'", 1), ("username~%22user_%22", 5), ("username~%22USER_2%22", 1),
            ("username~'%25'", 0),
            ("status=active%20%26%26%20email_verified=false", 5), ("status!=active", 0),
            ("created_at%3E'2020-01-01'", 5),
            ("kind=system", 0), ("status~ACTI", 5), ("kind~'HU'", 5), ("username~'USER'", 5),
        ] {
            #expect(
                try await server.get("/api/records/users?filter=\(filter)", token: admin).json["totalItems"]
                    == .integer(Int64(count)),
                "\(filter)"
            )
        }
        for wrong in [
            "password=1", "email", "email='x", "email='x'%20OR%201=1", "status=active%26%26", "created_at>x",
            "email_verified~true",
        ] {
            let refused = try await server.get("/api/records/users?filter=\(wrong)", token: admin)
            #expect(refused.status == 422, "\(wrong)")
            #expect(refused.details?["filter"] != nil)
        }
        for query in ["perPage=501", "perPage=0", "page=0", "page=x", "perPage=-1"] {
            #expect(try await server.get("/api/records/users?\(query)", token: admin).status == 422)
        }
    }
}
