import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct CollectionTests {
    @Test(arguments: Engine.available)
    func `collections are made, read, changed and removed`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let fields: JSON = [["name": "plan", "type": "select", "values": ["free", "pro"], "required": true]]
        let made = try await server.post(
            "/api/collections",
            ["name": "clients", "type": "auth", "fields": fields],
            token: admin
        ).data()
        let id = made["id"]?.text ?? ""
        #expect(try await server.get("/api/collections/\(id)", token: admin).data() == made)
        #expect(try await server.get("/api/collections/clients", token: admin).data() == made)
        let body: JSON = ["email": "ada@example.org", "password": .string(TestServer.password), "plan": "pro"]
        #expect(try await server.post("/api/auth/\(id)/register", body).data()["collection"] == "clients")
        // What was read can be sent back.
        let renamed = try await server.send(
            .patch,
            "/api/collections/\(id)",
            made.with("name", "members"),
            token: admin
        )
        #expect(try renamed.data()["name"] == "members")
        #expect(try await server.post("/api/auth/clients/login", body).code == "not_found")
        let token = try await server.post(
            "/api/auth/members/login",
            ["email": "ada@example.org", "password": .string(TestServer.password)]
        ).data()["token"]?.text
        #expect(try await server.get("/api/collections", token: admin).json["totalItems"] == 3)
        #expect(try await server.send(.delete, "/api/collections/members", token: admin).data() == ["deleted": true])
        #expect(try await server.get("/api/auth/me", token: token).details == ["reason": "deleted"])
        #expect(try await server.get("/api/collections/members", token: admin).status == 404)
        #expect(
            try await server.audit().filter { $0.hasPrefix("collection.") } == [
                "collection.created", "collection.updated", "collection.deleted",
            ]
        )
    }

    @Test(arguments: Engine.available)
    func `a collection that can't be is refused, with the place`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let wrong: [(JSON, String)] = [
            ([:], "name"), (["name": ""], "name"), (["name": "a b"], "name"), (["name": "me"], "name"),
            (["name": "_x"], "name"),
            (["name": 5], "name"), (["name": "x", "type": "base"], "type"), (["name": "x", "fields": [:]], "fields"),
            (["name": "x", "fields": [5]], "fields[0]"),
            (["name": "x", "fields": [["name": "id", "type": "text"]]], "fields[0].name"),
            (["name": "x", "fields": [["name": "a", "type": "blob"]]], "fields[0].type"),
            (["name": "x", "fields": [["name": "a", "type": "text", "pattern": "("]]], "fields[0].pattern"),
            (["name": "x", "fields": [["name": "a", "type": "text", "min": 5, "max": 2]]], "fields[0].max"),
            (
                ["name": "x", "fields": [["name": "a", "type": "text"], ["name": "a", "type": "text"]]],
                "fields[1].name"
            ),
            (["name": "x", "fields": [["name": "a", "type": "select"]]], "fields[0].values"),
            (["name": "x", "options": ["registration": "yes"]], "options.registration"),
            (["name": "x", "colour": 1], "colour"),
            (["name": "x", "id": "1"], "id"),
        ]
        for (body, place) in wrong {
            let reply = try await server.post("/api/collections", body, token: admin)
            #expect(reply.status == 422, "\(body.serialized)")
            #expect(reply.details?[place] != nil, "\(body.serialized) \(reply.text)")
        }
        #expect(try await server.post("/api/collections", ["name": "users"], token: admin).code == "name_taken")
        #expect(try await server.send(.delete, "/api/collections/_admins", token: admin).code == "built_in")
        #expect(
            try await server.send(.patch, "/api/collections/_admins", ["name": "staff"], token: admin).code
                == "built_in"
        )
        #expect(try await server.count("SELECT count(*) AS count FROM collections") == 2)
    }

    @Test(arguments: Engine.available)
    func `no field of the admins can keep the command line from making one`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let path = "/api/collections/_admins"
        let blocking: [JSON] = [
            [["name": "x", "type": "text", "required": true]], [["name": "email", "type": "email", "pattern": "^no$"]],
        ]
        for fields in blocking {
            #expect(try await server.send(.patch, path, ["fields": fields], token: admin).code == "built_in")
        }
        let harmless: JSON = ["fields": [["name": "team", "type": "text"]]]
        #expect(try await server.send(.patch, path, harmless, token: admin).status == 200)
        try await Commands(server.app.installation).createAdmin(email: "two@example.org", password: TestServer.password)
    }

    @Test(arguments: Engine.available)
    func `a collection that is removed meanwhile takes no account`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        _ = try await server.post("/api/collections", ["name": "clients"], token: admin).data()
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<12 {
                group.addTask {
                    let email = JSON.string("user\(number)@example.org")
                    let body: JSON = ["email": email, "password": .string(TestServer.password)]
                    return try await server.post("/api/auth/clients/register", body).status
                }
            }
            group.addTask { try await server.send(.delete, "/api/collections/clients", token: admin).status }
            return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(statuses.isSubset(of: [200, 404]))
        try await server.app.jobs.work()
        #expect(try await server.users() == 1)
    }

    @Test(arguments: Engine.available)
    func `a field becomes unique only when no value is there twice`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await server.signUp("ada@example.org", ["badge": "1"])
        try await server.signUp("eve@example.org", ["badge": "1"])
        let unique: JSON = ["fields": [["name": "badge", "type": "text", "unique": true]]]
        let refused = try await server.send(.patch, "/api/collections/users", unique, token: admin)
        #expect((refused.status, refused.code) == (409, "value_taken"))
        #expect(try await server.get("/api/collections/users", token: admin).data()["fields"] == [])
        let eve = try await server.signIn("eve@example.org")
        let id = try await server.get("/api/auth/me", token: eve).data()["id"]?.text ?? ""
        _ = try await server.send(.patch, "/api/records/users/\(id)", ["badge": "2"], token: eve).data()
        _ = try await server.send(.patch, "/api/collections/users", unique, token: admin).data()
        #expect(
            try await server.send(.patch, "/api/records/users/\(id)", ["badge": "1"], token: eve).code == "value_taken"
        )
        #expect(try await server.send(.patch, "/api/records/users/\(id)", ["badge": "3"], token: eve).status == 200)
        #expect(try await server.count("SELECT count(*) AS count FROM unique_values") == 2)
    }
}
