import OrderedCollections
import Storage
import StorageTesting

@testable import Auth

/// A provider that says what the test wants: each code is the profile that it stands for.
///
/// It answers in the shape of Google's userinfo, without ID tokens. What a provider can do over the wire, and do wrong, is
/// tested with real ones in Tests/CLI.
enum ScriptedProvider {
    static let redirectURI: JSON = "https://app.example.com/callback"
    static let settings: [String: String?] = [
        "oauth2.google.enabled": "1", "oauth2.google.client_id": "latchkey",
        "oauth2.google.client_secret": "s3cret-s3cret",
        "oauth2.discord.enabled": "1", "oauth2.discord.client_id": "latchkey",
        "oauth2.discord.client_secret": "s3cret-s3cret",
    ]

    struct Profile: Sendable {
        var subject: String
        var email: String?
        var isVerified = false
        var name: String?

        /// Google's userinfo, or Discord's user.
        fileprivate var userinfo: JSON {
            [
                "sub": .string(subject), "id": .string(subject), "email": .optional(email),
                "email_verified": .bool(isVerified), "verified": .bool(isVerified), "name": .optional(name),
            ]
        }
    }

    static let client = OutboundClient { request, _ in
        if request.method == .post {
            let form = try CanonicalRequest.pairs((request.body?.reveal() ?? "")[...])
            let token: JSON = ["access_token": .string(form["code"] ?? ""), "token_type": "bearer"]
            return OutboundAnswer(status: 200, body: Array(token.serialized.utf8))
        }
        let bearer = request.headers.reveal().first { $0.hasPrefix("Authorization: Bearer ") } ?? ""
        return OutboundAnswer(status: 200, body: Base64URL.decode(bearer.dropFirst(22)) ?? [])
    }

    static func code(_ profile: Profile) -> String {
        Base64URL.encode(Array(profile.userinfo.serialized.utf8))
    }

    static func body(_ profile: Profile, at provider: String = "google", state: String? = nil, record: JSON? = nil)
        -> JSON
    {
        var body: JSON.Members = [
            "provider": .string(provider), "code": .string(code(profile)), "redirectUri": redirectURI,
        ]
        body["state"] = state.map(JSON.string)
        body["record"] = record
        return .object(body)
    }
}

extension TestServer {
    /// One that asks the scripted provider.
    static func withProvider(_ engine: Engine, _ settings: [String: String?] = [:]) async throws -> TestServer {
        try await TestServer(
            engine,
            settings: ScriptedProvider.settings.merging(settings) { _, own in own },
            outbound: ScriptedProvider.client
        )
    }

    func identities() async throws -> Int { try await count("SELECT count(*) AS count FROM identities") }

    /// Comes back from the provider as somebody; `token` is sent along.
    func exchange(
        _ profile: ScriptedProvider.Profile,
        at provider: String = "google",
        in collection: String = "users",
        state: String? = nil,
        record: JSON? = nil,
        token: String? = nil
    ) async throws -> Reply {
        let body = ScriptedProvider.body(profile, at: provider, state: state, record: record)
        return try await post("/api/auth/\(collection)/oauth2/exchange", body, token: token)
    }

    /// A state that `authorize`, or with a token `connect`, has handed out.
    func state(at provider: String = "google", token: String? = nil, guest: String? = nil) async throws -> String {
        let step = token == nil ? "authorize" : "connect"
        let state = Hex.encode(Random.system.bytes(16))
        let query = "provider=\(provider)&state=\(state)&redirectUri=https%3A%2F%2Fapp.example.com%2Fcallback"
        _ = try await get("/api/auth/users/oauth2/\(step)?\(query)", token: token ?? guest).data()
        return state
    }
}
