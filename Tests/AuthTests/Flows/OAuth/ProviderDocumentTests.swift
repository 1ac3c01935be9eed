import Crypto
import OrderedCollections
import StorageTesting
import Synchronization
import Testing

@testable import Auth

/// What is kept of what providers publish, and how often they are asked.
@Suite struct ProviderDocumentTests {
    /// An issuer whose keys can be exchanged, and which counts what it is asked.
    private final class Issuer: Sendable {
        private let state = Mutex((keys: [String](), counts: [String: Int](), issuer: "https://issuer.example"))

        var keys: [String] {
            get { state.withLock { $0.keys } }
            set { state.withLock { $0.keys = newValue } }
        }
        func call(itself name: String) { state.withLock { $0.issuer = name } }
        func count(_ path: String) -> Int { state.withLock { $0.counts[path, default: 0] } }

        var client: OutboundClient {
            OutboundClient { [self] request, _ in
                let path = request.url.replacing("https://issuer.example", with: "")
                let (keys, issuer) = state.withLock { state in
                    state.counts[path, default: 0] += 1
                    return (state.keys, state.issuer)
                }
                let json: JSON =
                    path == "/jwks"
                    ? ["keys": .array(keys.map(Self.key))]
                    : ["issuer": .string(issuer), "jwks_uri": "https://issuer.example/jwks"]
                return OutboundAnswer(status: 200, body: Array(json.serialized.utf8))
            }
        }

        private static let material = P256.Signing.PrivateKey().publicKey.rawRepresentation

        private static func key(_ id: String) -> JSON {
            [
                "kty": "EC", "crv": "P-256", "kid": .string(id),
                "x": .string(Base64URL.encode(Array(material.prefix(32)))),
                "y": .string(Base64URL.encode(Array(material.suffix(32)))),
            ]
        }
    }

    private static let url = "https://issuer.example/jwks"

    private func header(_ id: String) throws -> IDToken.Header {
        let header: JSON = ["alg": "ES256", "kid": .string(id)]
        return try IDToken.Header(of: "\(Base64URL.encode(Array(header.serialized.utf8))).e30.e30")
    }

    @Test func `keys are asked for once, again for an unknown one, and no more often than allowed`() async throws {
        let issuer = Issuer()
        let server = try await TestServer(.sqlite, outbound: issuer.client)
        let documents = ProviderDocuments(services: server.services)
        issuer.keys = ["a"]
        for _ in 0..<5 { #expect(try await documents.key(for: header("a"), at: Self.url).id == "a") }
        #expect(issuer.count("/jwks") == 1)
        // The issuer changes its key: the first token that names it makes this server look.
        issuer.keys = ["b"]
        #expect(try await documents.key(for: header("b"), at: Self.url).id == "b")
        #expect(issuer.count("/jwks") == 2)
        // Tokens with made-up keys don't.
        for number in 0..<50 {
            await #expect(throws: OAuthFault.self) { try await documents.key(for: header("x\(number)"), at: Self.url) }
        }
        #expect(issuer.count("/jwks") == 2)
        server.clock.advance(seconds: 10)
        for number in 0..<50 {
            await #expect(throws: OAuthFault.self) { try await documents.key(for: header("x\(number)"), at: Self.url) }
        }
        #expect(issuer.count("/jwks") == 3)
        // A key that was withdrawn is forgotten within the hour.
        issuer.keys = []
        #expect(try await documents.key(for: header("b"), at: Self.url).id == "b")
        server.clock.advance(seconds: 3600)
        await #expect(throws: OAuthFault.self) { try await documents.key(for: header("b"), at: Self.url) }
    }

    @Test func `of many who need the keys at once, few ask`() async throws {
        let issuer = Issuer()
        let server = try await TestServer(.sqlite, outbound: issuer.client)
        let documents = ProviderDocuments(services: server.services)
        issuer.keys = ["a"]
        let ids = try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<32 { group.addTask { try await documents.key(for: self.header("a"), at: Self.url).id } }
            return try await group.reduce(into: [String?]()) { $0.append($1) }
        }
        #expect(ids == Array(repeating: "a", count: 32))
        #expect(issuer.count("/jwks") <= 3)
    }

    @Test func `a discovery document is kept, and must be the issuer's own`() async throws {
        let issuer = Issuer()
        let server = try await TestServer(.sqlite, outbound: issuer.client)
        let documents = ProviderDocuments(services: server.services)
        for _ in 0..<3 {
            #expect(try await documents.discovery(of: "https://issuer.example")["jwks_uri"] == .string(Self.url))
        }
        #expect(issuer.count("/.well-known/openid-configuration") == 1)
        // With a slash it is another one, though it is asked at the same place.
        await #expect(throws: OAuthFault.self) { try await documents.discovery(of: "https://issuer.example/") }
        server.clock.advance(seconds: 3600)
        issuer.call(itself: "https://evil.example")
        await #expect(throws: OAuthFault.self) { try await documents.discovery(of: "https://issuer.example") }
        // What was no good is not kept.
        issuer.call(itself: "https://issuer.example")
        #expect(try await documents.discovery(of: "https://issuer.example")["jwks_uri"] == .string(Self.url))
    }

    @Test func `Apple's client secret is a JWT of the key, made anew in time`() throws {
        let key = P256.Signing.PrivateKey()
        func apple(_ pem: String) -> AppleKey? {
            let settings = Settings(stored: [
                "oauth2.apple.private_key": pem, "oauth2.apple.key_id": "KEY", "oauth2.apple.team_id": "TEAM",
            ])
            return AppleKey(settings, clientID: "com.example.web")
        }
        #expect(apple("nonsense") == nil)
        #expect(apple(key.pemRepresentation.replacing("\n", with: "\\n")) != nil)
        let own = try #require(apple(key.pemRepresentation))
        let secrets = AppleSecrets()
        let now = Timestamp(seconds: 1_795_000_000)
        let first = try secrets.secret(own, at: now).reveal()
        #expect(try secrets.secret(own, at: now.advanced(bySeconds: 1799)).reveal() == first)
        #expect(try secrets.secret(own, at: now.advanced(bySeconds: 1800)).reveal() != first)
        let parts = first.split(separator: ".")
        let claims = try #require(Base64URL.decode(parts[1]).flatMap { JSON(parsing: $0) })
        #expect(
            claims == [
                "iss": "TEAM", "iat": 1_795_000_000, "exp": 1_795_003_600, "aud": "https://appleid.apple.com",
                "sub": "com.example.web",
            ]
        )
        let header = Base64URL.decode(parts[0]).flatMap { JSON(parsing: $0) }
        #expect(header?["alg"] == "ES256" && header?["kid"] == "KEY")
        let signature = try P256.Signing.ECDSASignature(rawRepresentation: Base64URL.decode(parts[2]) ?? [])
        #expect(key.publicKey.isValidSignature(signature, for: Array("\(parts[0]).\(parts[1])".utf8)))
        // Another key's secret is another.
        let other = try #require(apple(P256.Signing.PrivateKey().pemRepresentation))
        #expect(try secrets.secret(other, at: now.advanced(bySeconds: 1801)).reveal() != first)
    }
}
