import Crypto
import CryptoExtras
import Foundation

/// A public key of somebody else's (RFC 7517), for the signatures of their tokens.
///
/// Its kind fixes which algorithms it verifies (RFC 8725 §3.1): an RSA key is never taken for an HMAC secret, and `none` is no
/// algorithm.
struct JSONWebKey: Sendable {
    let id: String?
    /// What the key's `alg` narrows it to; nil when it has none.
    private let algorithm: String?
    private let material: Material

    private enum Material: Sendable {
        case rsa(_RSA.Signing.PublicKey)
        case p256(P256.Signing.PublicKey)
        case p384(P384.Signing.PublicKey)
        case p521(P521.Signing.PublicKey)
        case ed25519(Curve25519.Signing.PublicKey)
    }

    private static let rsaBitsMin = 2048
    private static let rsaBytesMax = 1024

    /// Nil for what is no public key for signatures, or a weak one.
    init?(_ json: JSON) {
        guard json["use"] == nil || json["use"] == "sig",
            json["key_ops"].map({ $0.elements.contains("verify") }) ?? true
        else { return nil }
        func bytes(_ name: String) -> [UInt8]? { json[name]?.text.flatMap { Base64URL.decode($0) } }
        switch (json["kty"]?.text, json["crv"]?.text) {
        case ("RSA", _):
            guard let modulus = bytes("n"), let exponent = bytes("e"), modulus.count <= Self.rsaBytesMax,
                let key = try? _RSA.Signing.PublicKey(n: modulus, e: exponent), key.keySizeInBits >= Self.rsaBitsMin
            else { return nil }
            material = .rsa(key)
        case ("EC", "P-256"):
            guard let point = Self.point(bytes("x"), bytes("y"), 32),
                let key = try? P256.Signing.PublicKey(rawRepresentation: point)
            else { return nil }
            material = .p256(key)
        case ("EC", "P-384"):
            guard let point = Self.point(bytes("x"), bytes("y"), 48),
                let key = try? P384.Signing.PublicKey(rawRepresentation: point)
            else { return nil }
            material = .p384(key)
        case ("EC", "P-521"):
            guard let point = Self.point(bytes("x"), bytes("y"), 66),
                let key = try? P521.Signing.PublicKey(rawRepresentation: point)
            else { return nil }
            material = .p521(key)
        case ("OKP", "Ed25519"):
            guard let x = bytes("x"), let key = try? Curve25519.Signing.PublicKey(rawRepresentation: x) else {
                return nil
            }
            material = .ed25519(key)
        default: return nil
        }
        id = json["kid"]?.text
        algorithm = json["alg"]?.text
    }

    func verifies(_ algorithm: String) -> Bool {
        let own: [String] =
            switch material {
            case .rsa: ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
            case .p256: ["ES256"]
            case .p384: ["ES384"]
            case .p521: ["ES512"]
            case .ed25519: ["EdDSA", "Ed25519"]
            }
        return own.contains(algorithm) && (self.algorithm ?? algorithm) == algorithm
    }

    /// Whether the signature (RFC 7518 §3, RFC 8037) is this key's, by an algorithm that it ``verifies(_:)``.
    func isValid(_ signature: [UInt8], of signed: [UInt8], by algorithm: String) -> Bool {
        guard verifies(algorithm) else { return false }
        switch material {
        case .rsa(let key):
            let padding: _RSA.Signing.Padding = algorithm.hasPrefix("PS") ? .PSS : .insecurePKCS1v1_5
            let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
            return switch algorithm.suffix(3) {
            case "256": key.isValidSignature(signature, for: SHA256.hash(data: signed), padding: padding)
            case "384": key.isValidSignature(signature, for: SHA384.hash(data: signed), padding: padding)
            default: key.isValidSignature(signature, for: SHA512.hash(data: signed), padding: padding)
            }
        case .p256(let key):
            return (try? P256.Signing.ECDSASignature(rawRepresentation: signature)).map {
                key.isValidSignature($0, for: signed)
            } ?? false
        case .p384(let key):
            return (try? P384.Signing.ECDSASignature(rawRepresentation: signature)).map {
                key.isValidSignature($0, for: signed)
            } ?? false
        case .p521(let key):
            return (try? P521.Signing.ECDSASignature(rawRepresentation: signature)).map {
                key.isValidSignature($0, for: signed)
            } ?? false
        case .ed25519(let key): return key.isValidSignature(signature, for: signed)
        }
    }

    private static func point(_ x: [UInt8]?, _ y: [UInt8]?, _ count: Int) -> [UInt8]? {
        guard let x, let y, x.count == count, y.count == count else { return nil }
        return x + y
    }
}
