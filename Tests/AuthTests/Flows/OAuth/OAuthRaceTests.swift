import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What comes of many sign-ins by a provider at once, and of one that fails half way.
@Suite struct OAuthRaceTests {
    typealias Profile = ScriptedProvider.Profile

    private func parallel<T: Sendable>(_ count: Int, _ body: @escaping @Sendable () async throws -> T) async throws
        -> [T]
    {
        try await withThrowingTaskGroup(of: T.self) { group in
            for _ in 0..<count { group.addTask { try await body() } }
            return try await group.reduce(into: [T]()) { $0.append($1) }
        }
    }

    private func id(_ reply: Reply) throws -> String { try reply.data()["record"]?["id"]?.text ?? "" }

    @Test(arguments: Engine.available)
    func `a merge takes the password of the account, and five wrong ones kill it`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, ["oauth2.link_strategy": "confirm"])
        try await server.signUp("ada@example.org")
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let token = try await server.exchange(ada).data()["merge_token"] ?? .null
        func confirm(_ password: String?) async throws -> Reply {
            var body: JSON.Members = ["merge_token": token]
            body["password"] = password.map(JSON.string)
            return try await server.post("/api/auth/users/oauth2/merge-confirm", .object(body))
        }
        #expect(try await confirm(nil).status == 422)
        for _ in 0..<5 { #expect(try await confirm("wrong wrong").status == 401) }
        #expect(try await confirm(TestServer.password).code == "invalid_one_time_token")
        #expect(try await server.identities() == 0)
        let second = try await server.exchange(ada).data()["merge_token"] ?? .null
        let body: JSON = ["merge_token": second, "password": .string(TestServer.password)]
        let outcomes = try await parallel(16) {
            try await server.post("/api/auth/users/oauth2/merge-confirm", body).status
        }
        #expect(outcomes.filter { $0 == 200 }.count == 1)
        #expect(try await server.identities() == 1)
    }

    @Test(arguments: Engine.available)
    func `of many first sign-ins at once, one makes the account`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let replies = try await parallel(16) { try await server.exchange(ada) }
        #expect(Set(try replies.map { try id($0) }).count == 1)
        #expect(try await server.users() == 1)
        #expect(try await server.identities() == 1)
    }

    @Test(arguments: Engine.available, [true, false])
    func `of many who claim an account at once, one links it and all are in`(_ engine: Engine, _ isVerified: Bool)
        async throws
    {
        let server = try await TestServer.withProvider(engine)
        try await server.signUp("ada@example.org")
        if isVerified {
            let link: JSON = ["token": .string(try await server.token(to: "ada@example.org", .verify))]
            _ = try await server.post("/api/auth/users/verify-email", link).data()
        }
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let replies = try await parallel(16) { try await server.exchange(ada) }
        #expect(Set(try replies.map { try id($0) }).count == 1)
        #expect(try await server.identities() == 1)
        let audit = try await server.audit()
        #expect(audit.filter { $0 == "identity.linked" }.count == 1)
        #expect(audit.filter { $0 == "account.claimed" }.count == (isVerified ? 0 : 1))
    }

    @Test(arguments: Engine.available)
    func `of many exchanges with one state, one goes on`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let state = try await server.state()
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let replies = try await parallel(16) { try await server.exchange(ada, state: state) }
        #expect(replies.filter { $0.status == 200 }.count == 1)
        #expect(replies.filter { $0.code == "invalid_oauth_state" }.count == 15)
    }

    @Test(arguments: Engine.available)
    func `a failed statement leaves nothing behind, and the next try succeeds`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        try await server.signUp("ada@example.org")
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        var number = 0
        repeat {
            number += 1
            server.faults.failWrite(number)
            let reply = try await server.exchange(ada)
            guard server.faults.failWrite(nil) else {
                _ = try reply.data()
                break
            }
            #expect(reply.status == 500)
            #expect(try await server.identities() == 0)
            #expect(try await server.signIn("ada@example.org").isEmpty == false)
        } while number < 100
        #expect(number > 5)
        #expect(try await server.identities() == 1)
    }
}
