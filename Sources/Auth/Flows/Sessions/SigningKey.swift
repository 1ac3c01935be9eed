import Crypto
import Foundation

package enum SigningAlgorithm: String, Sendable {
    case es256 = "ES256"
    case hs256 = "HS256"
}

/// One key that signs and verifies tokens, made from the bytes of a `.secret`.
///
/// Its algorithm is fixed: what a token's header claims never chooses how it is verified (RFC 8725 §3.1).
struct SigningKey: Sendable {
    private enum Material: Sendable {
        case es256(P256.Signing.PrivateKey)
        case hs256(SymmetricKey)
    }

    private let material: Material
    /// ES256: the RFC 7638 thumbprint of the public key.
    ///
    /// HS256: a digest that says nothing about the secret.
    let id: String
    private let encodedHeader: [UInt8]

    /// ES256 derives its private key from the secret (HKDF-SHA256); HS256 uses the secret's bytes as they are.
    init(secret: Secret<[UInt8]>, algorithm: SigningAlgorithm) throws {
        switch algorithm {
        case .es256:
            let key = try Self.derive(from: secret)
            material = .es256(key)
            id = Self.thumbprint(of: key.publicKey)
        case .hs256:
            material = .hs256(SymmetricKey(data: secret.reveal()))
            id = Self.fingerprint(of: secret)
        }
        let header: JSON = ["alg": .string(algorithm.rawValue), "kid": .string(id), "typ": "JWT"]
        encodedHeader = Array(Base64URL.encode(Array(header.serialized.utf8)).utf8)
    }

    var algorithm: SigningAlgorithm {
        switch material {
        case .es256: .es256
        case .hs256: .hs256
        }
    }

    /// A compact JWS (RFC 7515 §3.1) of the payload.
    func sign(_ payload: JSON) throws -> String {
        var bytes: [UInt8] = []
        payload.write(to: &bytes)
        let signed = encodedHeader + [UInt8(ascii: ".")] + Array(Base64URL.encode(bytes).utf8)
        let signature =
            switch material {
            case .es256(let key):
                Base64URL.encode(LowS.normalize(Array(try key.signature(for: signed).rawRepresentation)))
            case .hs256(let key): Base64URL.encode(Array(HMAC<SHA256>.authenticationCode(for: signed, using: key)))
            }
        return String(decoding: signed, as: UTF8.self) + "." + signature
    }

    func isValid(signature: [UInt8], of signed: [UInt8]) -> Bool {
        switch material {
        case .es256(let key):
            guard LowS.holds(signature), let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
            else { return false }
            return key.publicKey.isValidSignature(signature, for: signed)
        case .hs256(let key):
            return HMAC<SHA256>.isValidAuthenticationCode(signature, authenticating: signed, using: key)
        }
    }

    /// The public half as a JWK (RFC 7517); nil for a key that has none.
    var publicJWK: JSON? {
        guard case .es256(let key) = material else { return nil }
        let (x, y) = Self.coordinates(of: key.publicKey)
        return [
            "kty": "EC", "crv": "P-256", "x": .string(x), "y": .string(y), "kid": .string(id), "use": "sig",
            "alg": "ES256",
        ]
    }

    /// Names a secret without revealing anything of it.
    static func fingerprint(of secret: Secret<[UInt8]>) -> String {
        Base64URL.encode(bytes(from: secret, purpose: "latchkey secret fingerprint", count: 16))
    }

    private static func derive(from secret: Secret<[UInt8]>) throws -> P256.Signing.PrivateKey {
        // A derived number is out of the curve's range once in 2^32; then the next one is taken.
        for attempt in 0..<8 {
            let candidate = bytes(from: secret, purpose: "latchkey ES256 signing key \(attempt)", count: 32)
            if let key = try? P256.Signing.PrivateKey(rawRepresentation: candidate) { return key }
        }
        throw AuthError(.unexpected)
    }

    private static func bytes(from secret: Secret<[UInt8]>, purpose: String, count: Int) -> [UInt8] {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: secret.reveal()),
            info: Array(purpose.utf8),
            outputByteCount: count
        ).withUnsafeBytes(Array.init)
    }

    private static func coordinates(of key: P256.Signing.PublicKey) -> (x: String, y: String) {
        let raw = Array(key.rawRepresentation)
        return (Base64URL.encode(Array(raw.prefix(32))), Base64URL.encode(Array(raw.suffix(32))))
    }

    private static func thumbprint(of key: P256.Signing.PublicKey) -> String {
        let (x, y) = coordinates(of: key)
        // RFC 7638 §3: the required members in lexicographic order, without white space.
        return Base64URL.encode(Digest(of: #"{"crv":"P-256","kty":"EC","x":"\#(x)","y":"\#(y)"}"#).bytes)
    }
}
