import Foundation
import StorageTesting
import Synchronization
import Testing

@testable import Auth

/// What each provider's answers mean, in the shapes that its reference documents (Tests/Vectors/oauth-providers.json).
@Suite struct OAuthProviderTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let provider: String
        let name: String
        let token: JSON
        let answers: JSON
        let claims: JSON?
        let expected: JSON

        var testDescription: String { "\(provider): \(name)" }
    }

    static let cases: [Case] = {
        let path = Repository.path("Tests/Vectors/oauth-providers.json")
        let table = JSON(parsing: Array(FileManager.default.contents(atPath: path) ?? Data())) ?? .null
        return table.elements.flatMap { provider in
            (provider["cases"]?.elements ?? []).map { one in
                Case(
                    provider: provider["provider"]?.text ?? "",
                    name: one["name"]?.text ?? "",
                    token: one["token"] ?? provider["token"] ?? .null,
                    answers: one["answers"] ?? .null,
                    claims: one["id_token_claims"],
                    expected: one["expect"] ?? .null
                )
            }
        }
    }()

    private static func client(_ name: String, _ more: [String: String] = [:]) throws -> OAuthClient {
        let own = [
            "oauth2.\(name).enabled": "1", "oauth2.\(name).client_id": "the client",
            "oauth2.\(name).client_secret": "s:cret & more",
        ]
        return try OAuthClient.named(name, Settings(stored: own.merging(more) { _, last in last }))
    }

    private static func code(verifier: String? = nil) -> OAuthExchange.Code {
        OAuthExchange.Code(
            text: Secret("c0de"),
            redirectURI: "https://app.example.com/cb",
            verifier: verifier.map(Secret.init),
            nonce: nil
        )
    }

    private func check(_ profile: OAuthProfile?, _ expected: JSON) {
        let told: JSON =
            profile.map { profile in
                [
                    "subject": .string(profile.subject), "email": .optional(profile.email?.text),
                    "email_verified": .bool(profile.isEmailVerified), "name": .optional(profile.name),
                    "picture": .optional(profile.picture),
                ]
            } ?? .null
        #expect(told == expected)
    }

    @Test func `the table has every provider`() {
        #expect(Set(Self.cases.map(\.provider)) == Set(OAuthProvider.builtIn.map(\.name)))
        #expect(OAuthProvider.builtIn.map(\.name) + ["oidc"] == SettingsCatalogue.providers)
    }

    @Test(arguments: cases)
    func `a provider's answers give the profile that they mean`(_ one: Case) async throws {
        let provider = try Self.client(one.provider).provider
        if let claims = one.claims {
            let userinfo = provider.userinfoURL.isEmpty ? nil : one.answers[provider.userinfoURL]
            let answers = OAuthProvider.Answers(token: one.token, claims: claims, userinfo: userinfo)
            return check(provider.profile(answers), one.expected)
        }
        let outbound = OutboundClient { request, _ in
            if request.method == .post {
                #expect(request.url == provider.tokenURL)
                return OutboundAnswer(status: 200, body: Array(one.token.serialized.utf8))
            }
            let bearer = "Authorization: Bearer \(one.token["access_token"]?.text ?? "")"
            #expect(request.headers.reveal().contains(bearer))
            guard let answer = one.answers[request.url] else { return OutboundAnswer(status: 404, body: []) }
            return OutboundAnswer(status: 200, body: Array(answer.serialized.utf8))
        }
        let server = try await TestServer(.sqlite, outbound: outbound)
        let exchange = OAuthExchange(
            services: server.services,
            documents: ProviderDocuments(services: server.services)
        )
        guard one.expected != .null else {
            await #expect(throws: AuthError.self) {
                try await exchange.profile(by: Self.code(), of: Self.client(one.provider))
            }
            return
        }
        check(try await exchange.profile(by: Self.code(), of: Self.client(one.provider)), one.expected)
    }

    @Test(arguments: OAuthProvider.builtIn.map(\.name))
    func `each provider is asked as it wants to be`(_ name: String) async throws {
        let asked = Mutex<[OutboundRequest]>([])
        let outbound = OutboundClient { request, _ in
            asked.withLock { $0.append(request) }
            return OutboundAnswer(status: 400, body: Array(#"{"error":"invalid_grant"}"#.utf8))
        }
        let server = try await TestServer(.sqlite, outbound: outbound)
        let exchange = OAuthExchange(
            services: server.services,
            documents: ProviderDocuments(services: server.services)
        )
        let verifier = String(repeating: "v", count: 43)
        let refused = await #expect(throws: AuthError.self) {
            try await exchange.profile(by: Self.code(verifier: verifier), of: Self.client(name))
        }
        #expect(refused?.code == .oauthRefused)
        let request = try #require(asked.withLock { $0.first })
        let form = try CanonicalRequest.pairs((request.body?.reveal() ?? "")[...])
        let common = [
            "grant_type": "authorization_code", "code": "c0de", "redirect_uri": "https://app.example.com/cb",
            "code_verifier": verifier,
        ]
        // The parts are form-encoded before they are joined (RFC 6749 §2.3.1).
        let basic = Base64.encode(Array("the%20client:s%3Acret%20%26%20more".utf8))
        let isBasic = ["notion", "twitter"].contains(name)
        #expect(request.headers.reveal().contains("Authorization: Basic \(basic)") == isBasic)
        let own = isBasic ? [:] : ["client_id": "the client", "client_secret": "s:cret & more"]
        #expect(form == common.merging(own) { _, last in last })
    }

    @Test func `every URL can be another, and a provider is off until it is complete`() throws {
        for name in OAuthProvider.builtIn.map(\.name) {
            let urls = ["authorization_url", "token_url", "userinfo_url", "jwks_url", "issuer"]
            let settings = Dictionary(
                uniqueKeysWithValues: urls.map { ("oauth2.\(name).\($0)", "https://other.example/\($0)") }
            )
            let provider = try Self.client(name, settings).provider
            #expect(
                [
                    provider.authorizationURL, provider.tokenURL, provider.userinfoURL, provider.jwksURL,
                    provider.issuers.joined(),
                ] == urls.map { "https://other.example/\($0)" }
            )
            for (key, value) in [("enabled", "0"), ("client_id", ""), ("client_secret", "")] {
                #expect(throws: AuthError.self) { try Self.client(name, ["oauth2.\(name).\(key)": value]) }
            }
        }
        #expect(throws: AuthError.self) { try Self.client("oidc") }
        #expect(try Self.client("oidc", ["oauth2.oidc.issuer": "https://issuer.example"]).provider.isDiscovered)
        // Without an issuer there is none to discover or to believe: userinfo has to do.
        let urls = ["authorization_url", "token_url", "userinfo_url"].map {
            ("oauth2.oidc.\($0)", "https://own.example/\($0)")
        }
        let plain = try Self.client("oidc", Dictionary(uniqueKeysWithValues: urls)).provider
        #expect(!plain.isDiscovered && plain.idToken == .ignored)
        #expect(throws: AuthError.self) { try Self.client("oidc", Dictionary(uniqueKeysWithValues: urls.dropLast())) }
        #expect(throws: AuthError.self) { try Self.client("nobody") }
        let instance = "oidc-acme"
        #expect(
            try Self.client(instance, ["oauth2.\(instance).issuer": "https://issuer.example"]).realm
                == "https://issuer.example"
        )
    }

    @Test func `what a provider calls somebody is a text of bounded length`() {
        #expect(OAuthProfile(subject: 583231)?.subject == "583231")
        for subject: JSON? in [
            nil, .null, "", true, [], [:], .number(1.5), .string(String(repeating: "x", count: 256)), "a\0b",
        ] {
            #expect(OAuthProfile(subject: subject) == nil)
        }
    }

    @Test func `what can't be an address, a name or a picture is none`() {
        for email in [
            "", "ada", "ada\0@example.org", "anon_1@anonymous.invalid", String(repeating: "a", count: 300) + "@b.c",
        ] {
            let profile = OAuthProfile(subject: "1", email: email, isEmailVerified: true)
            #expect(profile?.email == nil && profile?.isEmailVerified == false)
        }
        for text in ["", "a\0b", String(repeating: "x", count: 1025)] {
            let profile = OAuthProfile(subject: "1", name: text, picture: text)
            #expect(profile?.name == nil && profile?.picture == nil)
        }
    }
}
