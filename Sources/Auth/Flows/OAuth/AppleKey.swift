import Crypto
import Foundation
import Synchronization

/// The key that Apple gives out in place of a client secret: the secret is a JWT that it signs (ES256).
struct AppleKey: Sendable {
    static let secretSeconds = 3600

    private let key: P256.Signing.PrivateKey
    private let keyID: String
    private let teamID: String
    private let clientID: String

    /// Nil while a setting is missing or the key can't be read.
    init?(_ settings: Settings, clientID: String) {
        // Where it was put on one line, its line ends are written out.
        let pem = settings.text("oauth2.apple.private_key").replacing("\\n", with: "\n")
        keyID = settings.text("oauth2.apple.key_id")
        teamID = settings.text("oauth2.apple.team_id")
        guard !keyID.isEmpty, !teamID.isEmpty, let key = try? P256.Signing.PrivateKey(pemRepresentation: pem) else {
            return nil
        }
        self.key = key
        self.clientID = clientID
    }

    /// A new client secret.
    func secret(at now: Timestamp) throws -> Secret<String> {
        let header: JSON = ["alg": "ES256", "kid": .string(keyID), "typ": "JWT"]
        let claims: JSON = [
            "iss": .string(teamID), "iat": .integer(now.seconds),
            "exp": .integer(now.seconds + Int64(Self.secretSeconds)),
            "aud": "https://appleid.apple.com", "sub": .string(clientID),
        ]
        let signed = [header, claims].map { Base64URL.encode(Array($0.serialized.utf8)) }.joined(separator: ".")
        let signature = try key.signature(for: Array(signed.utf8)).rawRepresentation
        return Secret("\(signed).\(Base64URL.encode(Array(signature)))")
    }

    /// Names the key and whose it is, without revealing it.
    fileprivate var fingerprint: Digest {
        Digest(of: "\(teamID)\n\(keyID)\n\(clientID)\n\(key.publicKey.pemRepresentation)")
    }
}

/// Keeps Apple's client secret while it is good, since many sign-ins use one.
///
/// A class, since it changes.
final class AppleSecrets: Sendable {
    private let kept = Mutex<(fingerprint: Digest, secret: Secret<String>, madeAt: Timestamp)?>(nil)

    func secret(_ key: AppleKey, at now: Timestamp) throws -> Secret<String> {
        let fingerprint = key.fingerprint
        if let kept = kept.withLock({ $0 }), kept.fingerprint == fingerprint,
            (0..<Int64(AppleKey.secretSeconds / 2)).contains(now.seconds(since: kept.madeAt))
        {
            return kept.secret
        }
        let secret = try key.secret(at: now)
        kept.withLock { $0 = (fingerprint, secret, now) }
        return secret
    }
}
