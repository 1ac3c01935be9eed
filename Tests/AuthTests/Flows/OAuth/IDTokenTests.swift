import Crypto
import CryptoExtras
import OrderedCollections
import Testing

@testable import Auth

/// Which ID tokens are believed.
@Suite struct IDTokenTests {
    private static let now = Timestamp(seconds: 1_795_000_000)
    private static let rsa = try! _RSA.Signing.PrivateKey(keySize: .bits2048)
    private static let p256 = P256.Signing.PrivateKey()
    private static let p384 = P384.Signing.PrivateKey()
    private static let p521 = P521.Signing.PrivateKey()
    private static let ed25519 = Curve25519.Signing.PrivateKey()

    private static func jwk(_ algorithm: String, id: String? = "1", alg: String? = nil, use: String? = nil) -> JSON {
        var key: JSON.Members = [:]
        func point(_ raw: some Swift.Collection<UInt8>, _ curve: String) {
            let bytes = Array(raw)
            key["kty"] = "EC"
            key["crv"] = .string(curve)
            key["x"] = .string(Base64URL.encode(bytes.prefix(bytes.count / 2)))
            key["y"] = .string(Base64URL.encode(bytes.suffix(bytes.count / 2)))
        }
        switch algorithm {
        case "ES256": point(p256.publicKey.rawRepresentation, "P-256")
        case "ES384": point(p384.publicKey.rawRepresentation, "P-384")
        case "ES512": point(p521.publicKey.rawRepresentation, "P-521")
        case "EdDSA":
            key["kty"] = "OKP"
            key["crv"] = "Ed25519"
            key["x"] = .string(Base64URL.encode(Array(ed25519.publicKey.rawRepresentation)))
        default:
            let numbers = try! rsa.publicKey.getKeyPrimitives()
            key["kty"] = "RSA"
            key["n"] = .string(Base64URL.encode(Array(numbers.modulus)))
            key["e"] = .string(Base64URL.encode(Array(numbers.publicExponent)))
        }
        key["kid"] = id.map(JSON.string)
        key["alg"] = alg.map(JSON.string)
        key["use"] = use.map(JSON.string)
        return .object(key)
    }

    private static func key(_ algorithm: String, id: String? = "1", alg: String? = nil) -> JSONWebKey {
        JSONWebKey(jwk(algorithm, id: id, alg: alg))!
    }

    private static func sign(_ text: String, by algorithm: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        switch algorithm {
        case "ES256": return Array(try! p256.signature(for: bytes).rawRepresentation)
        case "ES384": return Array(try! p384.signature(for: bytes).rawRepresentation)
        case "ES512": return Array(try! p521.signature(for: bytes).rawRepresentation)
        case "EdDSA": return Array(try! ed25519.signature(for: bytes))
        default:
            let padding: _RSA.Signing.Padding = algorithm.hasPrefix("PS") ? .PSS : .insecurePKCS1v1_5
            let signature =
                switch algorithm.suffix(3) {
                case "384": try! rsa.signature(for: SHA384.hash(data: bytes), padding: padding)
                case "512": try! rsa.signature(for: SHA512.hash(data: bytes), padding: padding)
                default: try! rsa.signature(for: SHA256.hash(data: bytes), padding: padding)
                }
            return Array(signature.rawRepresentation)
        }
    }

    private static let claims: JSON.Members = [
        "iss": "https://issuer.example", "sub": "248289761001", "aud": "latchkey", "nonce": "n-0S6_WzA2Mj",
        "iat": .integer(now.seconds), "exp": .integer(now.seconds + 600),
    ]

    private static func token(
        _ changes: JSON.Members = [:],
        header: JSON.Members = [:],
        by algorithm: String = "RS256"
    ) -> String {
        func merged(_ own: JSON.Members, _ other: JSON.Members) -> String {
            let all = own.merging(other) { _, last in last }.filter { $0.value != .null }
            return Base64URL.encode(Array(JSON.object(all).serialized.utf8))
        }
        let signed = merged(["alg": .string(algorithm), "kid": "1"], header) + "." + merged(claims, changes)
        return signed + "." + Base64URL.encode(sign(signed, by: algorithm))
    }

    private static func verify(
        _ token: String,
        _ key: JSONWebKey = key("RS256"),
        issuer: String = "https://issuer.example",
        nonce: IDToken.Nonce? = .exactly("n-0S6_WzA2Mj")
    ) throws -> IDToken {
        let expected = IDToken.Expectation(
            issuers: [issuer],
            audiences: ["latchkey", "mobile"],
            nonce: nonce,
            endSecondsMax: 86_400,
            now: now
        )
        return try IDToken(token, signedBy: key, expected)
    }

    private static let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    ]

    @Test(arguments: algorithms)
    func `a token is believed by the key that signed it, and by no other`(_ algorithm: String) throws {
        let token = Self.token(by: algorithm)
        let key = Self.key(algorithm)
        #expect(try Self.verify(token, key).claims["sub"] == "248289761001")
        for other in Self.algorithms where !key.verifies(other) {
            #expect(throws: IDToken.Problem.self) { try Self.verify(token, Self.key(other)) }
        }
        var parts = token.split(separator: ".").map(String.init)
        var signature = Base64URL.decode(parts[2]) ?? []
        signature[signature.count / 2] ^= 1
        parts[2] = Base64URL.encode(signature)
        #expect(throws: IDToken.Problem.self) { try Self.verify(parts.joined(separator: "."), key) }
    }

    @Test func `a key that names an algorithm verifies no other`() {
        let token = Self.token(by: "RS256")
        #expect(throws: IDToken.Problem.self) { try Self.verify(token, Self.key("RS256", alg: "RS512")) }
        #expect(throws: Never.self) { try Self.verify(token, Self.key("RS256", alg: "RS256")) }
    }

    @Test(arguments: ["none", "None", "HS256", "RS1", "", "ES256K"])
    func `the header's algorithm is none of its own choosing`(_ algorithm: String) throws {
        let parts = Self.token().split(separator: ".")
        let header: JSON = ["alg": .string(algorithm), "kid": "1"]
        let encoded = Base64URL.encode(Array(header.serialized.utf8))
        // With the public key as the secret of an HMAC, which a careless library would take.
        let signed = "\(encoded).\(parts[1])"
        let secret = SymmetricKey(data: Array(Self.rsa.publicKey.pemRepresentation.utf8))
        let mac = Array(HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: secret))
        for signature in ["", Base64URL.encode(mac), String(parts[2])] {
            #expect(throws: IDToken.Problem.self) { try Self.verify("\(signed).\(signature)") }
        }
    }

    static let wrong: [(String, JSON.Members)] = [
        ("another issuer", ["iss": "https://issuer.example/"]), ("no issuer", ["iss": .null]),
        ("another audience", ["aud": "somebody"]), ("no audience", ["aud": .null]), ("none of many", ["aud": []]),
        ("an audience that is no text", ["aud": 1]),
        ("many audiences without a party", ["aud": ["latchkey", "other"]]),
        ("another party", ["azp": "other"]), ("a party that is no text", ["azp": 1]),
        ("expired", ["exp": .integer(now.seconds)]), ("no end", ["exp": .null]),
        ("an end in text", ["exp": "1895000000"]),
        ("no end in sight", ["exp": .integer(now.seconds + 86_401)]), ("an end out of range", ["exp": .integer(.max)]),
        ("a negative end", ["exp": -1]), ("issued tomorrow", ["iat": .integer(now.seconds + 3600)]),
        ("issued in text", ["iat": "now"]), ("not yet", ["nbf": .integer(now.seconds + 3600)]),
        ("another nonce", ["nonce": "other"]), ("no nonce", ["nonce": .null]),
        ("a nonce that is no text", ["nonce": 1]),
        ("no subject", ["sub": .null]), ("an empty subject", ["sub": ""]), ("a subject that is no text", ["sub": 1]),
    ]

    @Test(arguments: wrong)
    func `a claim that is wrong is refused`(_ what: String, _ changes: JSON.Members) {
        #expect(throws: IDToken.Problem.self, "\(what)") { try Self.verify(Self.token(changes)) }
    }

    static let right: [(String, JSON.Members)] = [
        ("one of many audiences", ["aud": ["other", "latchkey"], "azp": "latchkey"]),
        ("a mobile application's", ["aud": "mobile"]), ("a party", ["azp": "latchkey"]),
        ("an ID token that says so", ["typ": "ID"]),
        ("a list of one", ["aud": ["latchkey"]]),
        ("fractions of seconds", ["exp": .number(Double(now.seconds) + 60.5)]), ("no time of issue", ["iat": .null]),
        ("a clock that is a little fast", ["iat": .integer(now.seconds + 30)]),
    ]

    @Test(arguments: right)
    func `a claim that may be so is taken`(_ what: String, _ changes: JSON.Members) {
        #expect(throws: Never.self, "\(what)") { try Self.verify(Self.token(changes)) }
    }

    static let headers: [(JSON.Members, Bool)] = [
        (["typ": "JWT"], true), (["typ": "jwt"], true), (["typ": "at+jwt"], false), (["typ": "logout+jwt"], false),
        (["crit": ["exp"], "exp": 1], false), (["b64": false], false), (["jku": "https://evil.example/keys"], true),
        (["x5u": "https://evil.example/keys"], true),
    ]

    @Test(arguments: headers)
    func `other kinds of tokens and extensions are refused, and keys of the token's own are not looked at`(
        _ header: JSON.Members,
        _ isTaken: Bool
    ) {
        let token = try? Self.verify(Self.token(header: header))
        #expect((token != nil) == isTaken)
    }

    @Test func `a mobile application's nonce may have been hashed before the provider saw it`() throws {
        let hashed = Hex.encode(Array(SHA256.hash(data: Array("secret".utf8))))
        let token = Self.token(["nonce": .string(hashed)])
        #expect(throws: Never.self) { try Self.verify(token, nonce: .plainOrHashed("secret")) }
        #expect(throws: Never.self) { try Self.verify(token, nonce: .plainOrHashed(hashed)) }
        #expect(throws: IDToken.Problem.self) { try Self.verify(token, nonce: .exactly("secret")) }
        #expect(throws: IDToken.Problem.self) { try Self.verify(token, nonce: .plainOrHashed("other")) }
    }

    @Test func `a tenant's issuer is the one that its claim names`() {
        let pattern = "https://login.example/{tenantid}/v2.0"
        let tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
        func issued(_ id: String, by issuer: String) -> String {
            Self.token(["iss": .string("https://login.example/\(issuer)/v2.0"), "tid": .string(id)])
        }
        #expect(throws: Never.self) { try Self.verify(issued(tenant, by: tenant), issuer: pattern) }
        for (id, issuer) in [(tenant, "other"), ("other", "other"), ("x/../y", "x/../y"), (tenant, "{tenantid}")] {
            #expect(throws: IDToken.Problem.self) { try Self.verify(issued(id, by: issuer), issuer: pattern) }
        }
    }

    @Test func `the key is the one that is named, or the only one that fits`() throws {
        let keys = [Self.key("ES256", id: "a"), Self.key("RS256", id: "b"), Self.key("RS256", id: "c")]
        func found(_ kid: JSON, _ algorithm: String) throws -> String? {
            try IDToken.Header(of: Self.token(header: ["kid": kid], by: algorithm)).key(among: keys)?.id
        }
        #expect(try found("c", "RS256") == "c")
        #expect(try found(.null, "ES256") == "a")
        #expect(try found(.null, "RS256") == nil)
        #expect(try found("a", "RS256") == nil)
        #expect(try found("d", "RS256") == nil)
    }

    @Test func `weak keys, secrets and keys for encryption are no keys`() throws {
        #expect(JSONWebKey(Self.jwk("RS256", use: "enc")) == nil)
        #expect(JSONWebKey(Self.jwk("RS256", use: "sig")) != nil)
        #expect(JSONWebKey(["kty": "oct", "k": "c2VjcmV0", "kid": "1"]) == nil)
        let small: JSON = [
            "kty": "RSA", "n": .string(Base64URL.encode([UInt8](repeating: 0xFF, count: 128))), "e": "AQAB",
        ]
        #expect(JSONWebKey(small) == nil)
        #expect(JSONWebKey(["kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"]) == nil)
        let zero = JSON.string(Base64URL.encode([UInt8](repeating: 0, count: 32)))
        #expect(JSONWebKey(["kty": "EC", "crv": "P-256", "x": zero, "y": zero]) == nil)
        #expect(JSONWebKey(["kty": "EC", "crv": "secp256k1", "x": zero, "y": zero]) == nil)
        #expect(JSONWebKey([]) == nil)
    }

    @Test(arguments: ["", "a", "a.b", "a.b.c", "....", "eyJhbGciOiJub25lIn0..", String(repeating: "a", count: 20_000)])
    func `what is no token is refused`(_ text: String) {
        #expect(throws: IDToken.Problem.self) { try Self.verify(text) }
    }
}
