import Crypto
import Foundation
import OrderedCollections
import Testing

@testable import Auth

struct SigningKeyTests {
    private static let secret = Secret(Array("a secret of 32 bytes and some more".utf8))
    private static let payload: JSON = ["sub": "someone", "n": 1, "text": "é \"\\"]

    private func decoded(_ text: String) throws -> Data {
        let standard = text.replacing("-", with: "+").replacing("_", with: "/")
        return try #require(Data(base64Encoded: standard + String(repeating: "=", count: (4 - standard.count % 4) % 4)))
    }

    /// RFC 7515, appendix A.1.
    @Test func `the HS256 example of RFC 7515 is valid`() throws {
        let secret = try decoded(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
        )
        let key = try SigningKey(secret: Secret(Array(secret)), algorithm: .hs256)
        let signed = Array(
            ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                + "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ").utf8
        )
        let signature = Array(try decoded("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
        #expect(key.isValid(signature: signature, of: signed))
        #expect(!key.isValid(signature: signature, of: signed + [0x20]))
        #expect(!key.isValid(signature: Array(signature.dropLast()), of: signed))
        #expect(!key.isValid(signature: [], of: signed))
        for index in signature.indices {
            var altered = signature
            altered[index] ^= 1
            #expect(!key.isValid(signature: altered, of: signed))
        }
    }

    @Test func `an HS256 token is the HMAC of its first two parts by the bytes of the secret`() throws {
        let key = try SigningKey(secret: Self.secret, algorithm: .hs256)
        let parts = try key.sign(Self.payload).split(separator: ".").map(String.init)
        #expect(parts.count == 3)
        let expected = HMAC<SHA256>.authenticationCode(
            for: Array("\(parts[0]).\(parts[1])".utf8),
            using: SymmetricKey(data: Self.secret.reveal())
        )
        #expect(try Array(decoded(parts[2])) == Array(expected))
        #expect(JSON(parsing: Array(try decoded(parts[0]))) == ["alg": "HS256", "kid": .string(key.id), "typ": "JWT"])
        #expect(JSON(parsing: Array(try decoded(parts[1])))?["text"] == "é \"\\")
    }

    @Test func `an ES256 token is valid by the coordinates of its JWK alone`() throws {
        let key = try SigningKey(secret: Self.secret, algorithm: .es256)
        let jwk = try #require(key.publicJWK)
        let (x, y) = (try decoded(try #require(jwk["x"]?.text)), try decoded(try #require(jwk["y"]?.text)))
        #expect(x.count == 32 && y.count == 32)
        let publicKey = try P256.Signing.PublicKey(rawRepresentation: x + y)
        let parts = try key.sign(Self.payload).split(separator: ".").map(String.init)
        let signature = try P256.Signing.ECDSASignature(rawRepresentation: try decoded(parts[2]))
        #expect(publicKey.isValidSignature(signature, for: Array("\(parts[0]).\(parts[1])".utf8)))
        #expect(!publicKey.isValidSignature(signature, for: Array("\(parts[0]).\(parts[1])x".utf8)))
        #expect(JSON(parsing: Array(try decoded(parts[0]))) == ["alg": "ES256", "kid": .string(key.id), "typ": "JWT"])
    }

    /// RFC 7638: the SHA-256 of the required members, in order and without white space.
    @Test func `an ES256 key is named by its thumbprint`() throws {
        for number in 0..<20 {
            let key = try SigningKey(
                secret: Secret(Array("secret number \(number) of many secrets".utf8)),
                algorithm: .es256
            )
            let jwk = try #require(key.publicJWK)
            let members = try ["crv", "kty", "x", "y"].map { name in "\"\(name)\":\"\(try #require(jwk[name]?.text))\""
            }
            let digest = SHA256.hash(data: Array("{\(members.joined(separator: ","))}".utf8))
            let thumbprint = Data(digest).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
                .replacing("=", with: "")
            #expect(key.id == thumbprint)
            #expect(jwk["kid"] == .string(thumbprint))
            #expect(jwk["kty"] == "EC" && jwk["crv"] == "P-256" && jwk["use"] == "sig" && jwk["alg"] == "ES256")
            guard case .object(let all) = jwk else { continue }
            // Above all no `d`.
            #expect(Set(all.keys) == ["kty", "crv", "x", "y", "kid", "use", "alg"])
        }
    }

    @Test(arguments: [SigningAlgorithm.es256, .hs256])
    func `a secret makes the same key each time, and another secret another`(_ algorithm: SigningAlgorithm) throws {
        let key = try SigningKey(secret: Self.secret, algorithm: algorithm)
        let same = try SigningKey(secret: Self.secret, algorithm: algorithm)
        let other = try SigningKey(secret: Secret(Self.secret.reveal() + [1]), algorithm: algorithm)
        #expect(key.id == same.id && key.algorithm == algorithm)
        #expect(key.id != other.id)
        let parts = try key.sign(Self.payload).split(separator: ".").map(String.init)
        let (signature, signed) = (Array(try decoded(parts[2])), Array("\(parts[0]).\(parts[1])".utf8))
        #expect(same.isValid(signature: signature, of: signed))
        #expect(!other.isValid(signature: signature, of: signed))
    }

    @Test func `an HS256 key has no public half, and its name tells nothing of the secret`() throws {
        let key = try SigningKey(secret: Self.secret, algorithm: .hs256)
        #expect(key.publicJWK == nil)
        #expect(key.id == SigningKey.fingerprint(of: Self.secret))
        let digest = Data(SHA256.hash(data: Self.secret.reveal()))
        #expect(!digest.base64EncodedString().hasPrefix(key.id.prefix(8)))
        #expect(!Data(Self.secret.reveal()).base64EncodedString().contains(key.id.prefix(8)))
        #expect(try SigningKey(secret: Self.secret, algorithm: .es256).id != key.id)
    }
}
