import Crypto
import Foundation
import OrderedCollections
import Testing

@testable import Auth

struct SigningKeysTests {
    private static let time = Timestamp(seconds: 1_700_000_000)
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    private func key(_ text: String = "a secret of 32 bytes and some more", _ algorithm: SigningAlgorithm = .es256)
        throws -> SigningKey
    {
        try SigningKey(secret: Secret(Array(text.utf8)), algorithm: algorithm)
    }

    private func keys(_ algorithm: SigningAlgorithm = .es256) throws -> SigningKeys {
        SigningKeys(current: try key(algorithm: algorithm), previous: [])
    }

    private func key(algorithm: SigningAlgorithm) throws -> SigningKey {
        try key("a secret of 32 bytes and some more", algorithm)
    }

    private func claims(email: String? = "ada@example.org", resource: String? = nil) -> SessionClaims {
        SessionClaims(
            audience: .user,
            issuedAt: Self.time,
            expiresAt: Self.time.advanced(bySeconds: 3600),
            tokenID: "token-1",
            session: SessionID(at: Self.time, random: Random { Array(repeating: 1, count: $0) }),
            user: UserID(at: Self.time, random: Random { Array(repeating: 2, count: $0) }),
            email: email,
            collection: "users",
            methods: ["pwd", "otp"],
            resource: resource
        )
    }

    @Test(arguments: [SigningAlgorithm.es256, .hs256])
    func `what is issued is verified with the same claims`(_ algorithm: SigningAlgorithm) throws {
        let keys = try keys(algorithm)
        for claims in [claims(), claims(email: nil), claims(email: "grüße\"\\@b.c", resource: "/files/ü")] {
            #expect(keys.verify(try keys.issue(claims).reveal()) == claims)
        }
    }

    @Test(arguments: [SigningAlgorithm.es256, .hs256])
    func `a token in which any one character is another is refused`(_ algorithm: SigningAlgorithm) throws {
        let keys = try keys(algorithm)
        let token = Array(try keys.issue(claims()).reveal())
        var random = SplitMix64(seed: 3)
        for index in token.indices {
            var altered = token
            altered[index] = Self.letters.filter { $0 != token[index] }.randomElement(using: &random) ?? "A"
            #expect(keys.verify(String(altered)) == nil, "\(index): \(altered[index]) for \(token[index])")
            altered[index] = token[index].isUppercase ? Character(token[index].lowercased()) : "."
            #expect(
                altered == token || keys.verify(String(altered)) == nil,
                "\(index): \(altered[index]) for \(token[index])"
            )
        }
        #expect(keys.verify(String(token)) != nil)
    }

    /// All 64 spellings of the last character: the unused bits of the signature's end make no second token.
    @Test(arguments: [SigningAlgorithm.es256, .hs256])
    func `the signature has one spelling`(_ algorithm: SigningAlgorithm) throws {
        let keys = try keys(algorithm)
        let token = try keys.issue(claims()).reveal()
        let valid = Self.letters.filter { keys.verify(token.dropLast() + String($0)) != nil }
        #expect(valid == [token.last])
    }

    /// Each ECDSA signature (r, s) has a twin (r, n − s) that anybody can compute and any library takes.
    @Test func `the twin of a signature is refused`() throws {
        let keys = try keys()
        let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
        let digits = Array(order).compactMap(\.hexDigitValue)
        let n = stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
        for _ in 0..<20 {
            let token = try keys.issue(claims()).reveal()
            let parts = token.split(separator: ".")
            var signature = try #require(Base64URL.decode(parts[2]))
            var borrow = 0
            for index in (0..<32).reversed() {
                let difference = Int(n[index]) - Int(signature[32 + index]) - borrow
                borrow = difference < 0 ? 1 : 0
                signature[32 + index] = UInt8(truncatingIfNeeded: difference)
            }
            #expect(keys.verify(token) != nil)
            #expect(keys.verify("\(parts[0]).\(parts[1]).\(Base64URL.encode(signature))") == nil)
        }
    }

    @Test(arguments: [SigningAlgorithm.es256, .hs256])
    func `a token that was cut, stretched or rearranged is refused`(_ algorithm: SigningAlgorithm) throws {
        let keys = try keys(algorithm)
        let token = try keys.issue(claims()).reveal()
        let parts = token.split(separator: ".").map(String.init)
        for count in stride(from: 0, to: token.count, by: 7) {
            #expect(keys.verify(String(token.prefix(count))) == nil, "\(count)")
        }
        let (header, payload, signature) = (parts[0], parts[1], parts[2])
        let others = [
            token + "A", token + "=", token + "==", token + ".", token + "\n", " " + token, "." + token,
            "\(header).\(payload)", "\(header).\(payload).",
            "\(header)..\(signature)", ".\(payload).\(signature)", "..", "...", "\(payload).\(header).\(signature)",
            "\(header).\(payload).\(signature).\(signature)",
            "\(header)=.\(payload).\(signature)", "\(header).\(payload)=.\(signature)",
            "\(header). \(payload).\(signature)", "\(signature).\(payload).\(header)",
            "Bearer " + token, token + token, token.uppercased(), "\(header).\(payload).\(signature)\u{0}",
        ]
        for other in others { #expect(keys.verify(other) == nil, "\(other)") }
        #expect(keys.verify(token) != nil)
    }

    @Test func `the payload of one token and the signature of another make none`() throws {
        let keys = try keys()
        let one = try keys.issue(claims()).reveal().split(separator: ".")
        let two = try keys.issue(claims(email: "eve@example.org")).reveal().split(separator: ".")
        #expect(keys.verify("\(one[0]).\(two[1]).\(one[2])") == nil)
        #expect(keys.verify("\(one[0]).\(one[1]).\(two[2])") == nil)
    }

    /// A token with a header of one's own, rightly signed by the key all the same.
    private func token(header: String, _ algorithm: SigningAlgorithm) throws -> String {
        let signed = Base64URL.encode(Array(header.utf8)) + "." + Base64URL.encode(Array(claims().json.serialized.utf8))
        let bytes = Array("a secret of 32 bytes and some more".utf8)
        switch algorithm {
        case .hs256:
            let code = HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: SymmetricKey(data: bytes))
            return signed + "." + Base64URL.encode(Array(code))
        case .es256:
            // By the derivation of ``SigningKey``, which has no way to sign another header.
            let info = Array("latchkey ES256 signing key 0".utf8)
            let derived = HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: bytes),
                info: info,
                outputByteCount: 32
            )
            let key = try P256.Signing.PrivateKey(rawRepresentation: derived.withUnsafeBytes { Array($0) })
            var signature: [UInt8] = []
            // One with a small s, of which there are as many.
            repeat {
                signature = Array(try key.signature(for: Array(signed.utf8)).rawRepresentation)
            } while signature[32] > 0x7E
            return signed + "." + Base64URL.encode(signature)
        }
    }

    @Test(arguments: [SigningAlgorithm.es256, .hs256])
    func `the header is exactly ours, even under a right signature`(_ algorithm: SigningAlgorithm) throws {
        let keys = try keys(algorithm)
        let (own, kid) = (algorithm.rawValue, keys.current.id)
        let other = algorithm == .es256 ? "HS256" : "ES256"
        #expect(
            keys.verify(try token(header: #"{"alg":"\#(own)","kid":"\#(kid)","typ":"JWT"}"#, algorithm)) == claims()
        )
        for header in [
            #"{"alg":"none","kid":"\#(kid)","typ":"JWT"}"#, #"{"alg":"None","kid":"\#(kid)","typ":"JWT"}"#,
            #"{"alg":"\#(other)","kid":"\#(kid)","typ":"JWT"}"#,
            #"{"alg":"\#(own.lowercased())","kid":"\#(kid)","typ":"JWT"}"#,
            #"{"alg":"\#(own)","kid":"other","typ":"JWT"}"#, #"{"alg":"\#(own)","typ":"JWT"}"#,
            #"{"alg":"\#(own)","kid":"\#(kid)"}"#, #"{"alg":"\#(own)","kid":"\#(kid)","typ":"jwt"}"#,
            #"{"alg":"\#(own)","kid":"\#(kid)","typ":"at+jwt"}"#,
            #"{"alg":"\#(own)","kid":"\#(kid)","typ":"JWT","crit":["exp"]}"#,
            #"{"alg":"\#(own)","kid":"\#(kid)","typ":"JWT","jku":"https://evil.example"}"#,
            #"{"alg":"\#(own)","kid":"\#(kid)","typ":"JWT","jwk":{}}"#,
            #"{"alg":["\#(own)"],"kid":"\#(kid)","typ":"JWT"}"#, #"["alg"]"#, "", "{}", "null",
        ] { #expect(keys.verify(try token(header: header, algorithm)) == nil, "\(header)") }
    }

    @Test func `the public key as an HMAC secret signs nothing`() throws {
        let keys = try keys()
        let jwk = try #require(keys.current.publicJWK)
        let (x, y) = (Base64URL.decode(jwk["x"]?.text ?? "") ?? [], Base64URL.decode(jwk["y"]?.text ?? "") ?? [])
        let pem = try P256.Signing.PublicKey(rawRepresentation: x + y).pemRepresentation
        for alg in ["HS256", "ES256"] {
            let header = #"{"alg":"\#(alg)","kid":"\#(keys.current.id)","typ":"JWT"}"#
            let signed =
                Base64URL.encode(Array(header.utf8)) + "." + Base64URL.encode(Array(claims().json.serialized.utf8))
            for secret in [Array(pem.utf8), x + y, [4] + x + y, Array(jwk.serialized.utf8), []] {
                let code = Array(
                    HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: SymmetricKey(data: secret))
                )
                #expect(keys.verify(signed + "." + Base64URL.encode(code)) == nil)
                #expect(keys.verify(signed + "." + Base64URL.encode(code + code)) == nil)
            }
            for zeros in [0, 32, 64] {
                #expect(keys.verify(signed + "." + Base64URL.encode(Array(repeating: 0 as UInt8, count: zeros))) == nil)
            }
        }
    }

    @Test func `previous keys go on verifying, removed ones and those of the other algorithm do not`() throws {
        let (old, new) = (try key("an old secret of 32 bytes and more"), try key("a new secret of 32 bytes and more."))
        let token = try SigningKeys(current: old, previous: []).issue(claims()).reveal()
        let rotated = SigningKeys(current: new, previous: [old])
        #expect(rotated.verify(token) == claims())
        #expect(rotated.verify(try rotated.issue(claims()).reveal()) == claims())
        #expect(SigningKeys(current: old, previous: []).verify(try rotated.issue(claims()).reveal()) == nil)
        #expect(SigningKeys(current: new, previous: []).verify(token) == nil)
        let hmac = SigningKeys(current: try key("an old secret of 32 bytes and more", .hs256), previous: [])
        #expect(hmac.verify(token) == nil)
        #expect(SigningKeys(current: old, previous: []).verify(try hmac.issue(claims()).reveal()) == nil)
        #expect(rotated.jwks == ["keys": .array([new, old].compactMap(\.publicJWK))])
        #expect(hmac.jwks == ["keys": []])
    }

    @Test func `a token has at most 4096 bytes`() throws {
        let keys = try keys(.hs256)
        #expect(keys.verify(try keys.issue(claims(email: String(repeating: "a", count: 2500))).reveal()) != nil)
        #expect(keys.verify(try keys.issue(claims(email: String(repeating: "a", count: 3500))).reveal()) == nil)
    }

    @Test(arguments: ["iss", "aud", "iat", "exp", "jti", "sid", "id", "collection", "amr"])
    func `a claim that is missing or of another type makes no token`(_ name: String) throws {
        let keys = try keys(.hs256)
        guard case .object(let members) = claims().json else { return }
        for value in [nil, JSON.null, true, [:], .number(1.5), "x", -1, .integer(.max), ""] as [JSON?] {
            var altered = members
            altered[name] = value
            // Any text names a token or a collection.
            if ["jti", "collection"].contains(name), value?.text != nil { continue }
            #expect(keys.verify(try keys.current.sign(.object(altered))) == nil, "\(String(describing: value))")
        }
    }
}
