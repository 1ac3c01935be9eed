import OrderedCollections

/// The keys in force: one signs, all verify.
///
/// Only keys of the configured algorithm are among them.
struct SigningKeys: Sendable {
    let current: SigningKey
    /// Kept by `latchkey secret rotate`, so that tokens signed before it stay valid.
    let previous: [SigningKey]

    static let tokenBytesMax = 4096

    func issue(_ claims: SessionClaims) throws -> Secret<String> {
        Secret(try current.sign(claims.json))
    }

    /// The claims of a token whose signature is right; nil for anything else.
    ///
    /// Whether they still hold is for the caller to say.
    ///
    /// Strict: three parts in canonical base64url, a header with exactly `alg`, `kid` and `typ` as we write them. So no
    /// altered, padded or re-spelled token passes, nor `alg: none`, a foreign algorithm, `crit`, `jwk` or `jku`.
    func verify(_ token: String) -> SessionClaims? {
        guard token.utf8.count <= Self.tokenBytesMax else { return nil }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let headerBytes = Base64URL.decode(parts[0]), let header = JSON(parsing: headerBytes),
            case .object(let members) = header, members.count == 3, header["typ"] == "JWT",
            let key = ([current] + previous).first(where: { header["kid"] == .string($0.id) }),
            header["alg"] == .string(key.algorithm.rawValue),
            let signature = Base64URL.decode(parts[2]),
            key.isValid(
                signature: signature,
                of: Array(token.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
            ),
            let payload = Base64URL.decode(parts[1]).flatMap({ JSON(parsing: $0) })
        else { return nil }
        return SessionClaims(json: payload)
    }

    /// The JWK set for `/.well-known/jwks.json`; empty for HS256, whose keys are secret.
    var jwks: JSON { ["keys": .array(([current] + previous).compactMap(\.publicJWK))] }
}
