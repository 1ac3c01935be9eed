import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

/// What a sign-in by a provider makes of who signs in: guests, and people with a second factor.
@Suite struct OAuthSignInTests {
    private typealias Profile = ScriptedProvider.Profile

    private static let settings: [String: String?] = ["auth.anonymous.enabled": "1"]
    private static let finish = "/api/auth/users/login/mfa"

    private func id(_ reply: Reply) throws -> String { try reply.data()["record"]?["id"]?.text ?? "" }

    private func guest(on server: TestServer) async throws -> String {
        try await server.post("/api/auth/users/anonymous").data()["token"]?.text ?? ""
    }

    // MARK: Guests

    @Test(arguments: Engine.available)
    func `a guest becomes an account by a provider, with the same id and record, and the guest's tokens end`(
        _ engine: Engine
    ) async throws {
        let server = try await TestServer.withProvider(engine, Self.settings)
        let guest = try await guest(on: server)
        let before = try await server.get("/api/auth/me", token: guest).data()
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let reply = try await server.exchange(ada, token: guest)
        let record = try #require(try reply.data()["record"])
        #expect(record["id"] == before["id"] && record["email"] == "ada@example.org")
        #expect(record["email_verified"] == true && record["anonymous"] == false)
        let token = try #require(try reply.data()["token"]?.text)
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["fed"])
        #expect(try await server.get("/api/auth/me", token: guest).code == "session_ended")
        #expect(try await server.users() == 1)
        #expect(try await server.audit().suffix(3) == ["guest.promoted", "identity.linked", "sign_in.succeeded"])
        // The guest's token stands for nobody now: the provider's account is known.
        #expect(try id(try await server.exchange(ada, token: guest)) == id(reply))
    }

    @Test(arguments: Engine.available)
    func `a guest who has an account already is signed in to it, and stays a guest`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, Self.settings)
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let account = try id(try await server.exchange(ada))
        for profile in [ada, Profile(subject: "1", email: "other@example.org", isVerified: true)] {
            let guest = try await guest(on: server)
            #expect(try id(try await server.exchange(profile, token: guest)) == account)
            #expect(try await server.get("/api/auth/me", token: guest).data()["anonymous"] == true)
        }
        let unverified = Profile(subject: "2", email: "ada@example.org")
        let guest = try await guest(on: server)
        #expect(try await server.exchange(unverified, token: guest).code == "email_taken")
        #expect(try await server.get("/api/auth/me", token: guest).data()["anonymous"] == true)
    }

    @Test(arguments: Engine.available)
    func `of two sign-ins at once a guest becomes one account`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, Self.settings)
        let guest = try await guest(on: server)
        let ids = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
                    return try id(try await server.exchange(ada, token: guest))
                }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(ids.count == 1)
        #expect(try await server.users() == 1)
        #expect(try await server.audit().count { $0 == "guest.promoted" } == 1)
    }

    @Test(arguments: Engine.available)
    func `somebody else's credential makes nobody an account`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let member = try await server.signedUp("ada@example.org")
        let me = try await server.get("/api/auth/me", token: member).data()["id"]
        let eve = Profile(subject: "9", email: "eve@example.org", isVerified: true)
        for token in [member, "no-token"] {
            let reply = try await server.exchange(eve, token: token)
            #expect(try reply.data()["record"]?["id"] != me)
        }
        #expect(try await server.users() == 2)
    }

    // MARK: A second factor

    @Test(arguments: Engine.available)
    func `who has a second factor gets the link with it, not before`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine)
        let token = try await server.signedUp("ada@example.org")
        let verify: JSON = ["token": .string(try await server.token(to: "ada@example.org", .verify))]
        _ = try await server.post("/api/auth/users/verify-email", verify).data()
        let totp = try await server.enrol(token).totp
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        for _ in 0..<2 {
            let reply = try await server.exchange(ada)
            let ticket = try #require(try reply.data()["mfa_token"])
            #expect(try await server.identities() == 0)
            let wrong: JSON = ["mfa_token": ticket, "code": "000000"]
            #expect(try await server.post(Self.finish, wrong).status == 401)
            #expect(try await server.identities() == 0)
            #expect(try await server.audit().contains("identity.linked") == false)
        }
        let ticket = try #require(try await server.exchange(ada).data()["mfa_token"])
        let other = try #require(try await server.exchange(ada).data()["mfa_token"])
        func finish(_ ticket: JSON) async throws -> Reply {
            try await server.post(Self.finish, server.code(of: totp).with("mfa_token", ticket))
        }
        _ = try await finish(ticket).data()
        #expect(try await server.identities() == 1)
        #expect(try await server.audit().suffix(2) == ["identity.linked", "sign_in.succeeded"])
        // A ticket from before the link finds it made.
        server.clock.advance(seconds: 60)
        _ = try await finish(other).data()
        #expect(try await server.identities() == 1)
    }
}
