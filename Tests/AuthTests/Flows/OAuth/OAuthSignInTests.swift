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

    /// Goes there and comes back as a guest.
    private func signIn(_ profile: Profile, as guest: String, on server: TestServer) async throws -> Reply {
        let state = try await server.state(guest: guest)
        return try await server.exchange(profile, state: state, token: guest)
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
        let reply = try await signIn(ada, as: guest, on: server)
        let record = try #require(try reply.data()["record"])
        #expect(record["id"] == before["id"] && record["email"] == "ada@example.org")
        #expect(record["email_verified"] == true && record["anonymous"] == false)
        let token = try #require(try reply.data()["token"]?.text)
        #expect(try await server.get("/api/auth/me", token: token).data()["amr"] == ["fed"])
        #expect(try await server.get("/api/auth/me", token: guest).code == "session_ended")
        #expect(try await server.users() == 1)
        #expect(try await server.audit().suffix(3) == ["guest.promoted", "identity.linked", "sign_in.succeeded"])
        // The guest's token stands for nobody now: the provider's account is known.
        #expect(try id(try await signIn(ada, as: guest, on: server)) == id(reply))
    }

    @Test(arguments: Engine.available)
    func `a guest who has an account already is signed in to it, and stays a guest`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, Self.settings)
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let account = try id(try await server.exchange(ada))
        for profile in [ada, Profile(subject: "1", email: "other@example.org", isVerified: true)] {
            let guest = try await guest(on: server)
            #expect(try id(try await signIn(profile, as: guest, on: server)) == account)
            #expect(try await server.get("/api/auth/me", token: guest).data()["anonymous"] == true)
        }
        let unverified = Profile(subject: "2", email: "ada@example.org")
        let guest = try await guest(on: server)
        #expect(try await signIn(unverified, as: guest, on: server).code == "email_taken")
        #expect(try await server.get("/api/auth/me", token: guest).data()["anonymous"] == true)
    }

    @Test(arguments: Engine.available)
    func `of sign-ins at once one makes a guest an account, and no other one is made`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, Self.settings)
        let guest = try await guest(on: server)
        var states: [String] = []
        for _ in 0..<8 { states.append(try await server.state(guest: guest)) }
        let ada = Profile(subject: "1", email: "ada@example.org", isVerified: true)
        let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
            for state in states { group.addTask { try await server.exchange(ada, state: state, token: guest) } }
            return try await group.reduce(into: [Reply]()) { $0.append($1) }
        }
        // Who comes with the guest's token when it has ended starts again.
        for reply in replies where reply.status != 200 { #expect(reply.code == "invalid_oauth_state") }
        let ids = Set(try replies.filter { $0.status == 200 }.map(id))
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

    /// Else whoever leads a guest's browser to a code of their own would get the guest's account.
    @Test(arguments: Engine.available)
    func `only a guest who has begun a sign-in becomes an account by it`(_ engine: Engine) async throws {
        let server = try await TestServer.withProvider(engine, Self.settings)
        let (mine, other) = (try await guest(on: server), try await guest(on: server))
        let me = try await server.get("/api/auth/me", token: mine).data()["id"]?.text
        let eve = Profile(subject: "9", email: "eve@example.org", isVerified: true)
        for token in [other, nil, try await server.signedUp("ada@example.org")] {
            let state = try await server.state(guest: mine)
            #expect(try await server.exchange(eve, state: state, token: token).code == "invalid_oauth_state")
        }
        for state in [nil, try await server.state()] {
            #expect(try id(try await server.exchange(eve, state: state, token: mine)) != me)
        }
        #expect(try await server.get("/api/auth/me", token: mine).data()["anonymous"] == true)
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
