import Crypto
import Foundation

/// Encrypts settings and other secrets at rest (AES-256-GCM), each bound to the place it is stored in.
///
/// The key is `<dataDir>/.sealing-key` or `LATCHKEY_SEALING_KEY`. It is not the signing secret: either can be replaced
/// without harm to what the other protects.
struct SealingKey: Sendable {
    static let byteCount = 32
    private let key: SymmetricKey

    init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        key = SymmetricKey(data: bytes)
    }

    /// `v1.` and the base64url of nonce, ciphertext and tag.
    ///
    /// `place` must be given again to open it, so that a sealed value can't be moved to another column or row.
    func seal(_ plaintext: String, place: String, random: Random) throws -> String {
        let nonce = try AES.GCM.Nonce(data: random.bytes(12))
        let box = try AES.GCM.seal(Array(plaintext.utf8), using: key, nonce: nonce, authenticating: Array(place.utf8))
        return "v1." + Base64URL.encode(Array(box.nonce) + box.ciphertext + box.tag)
    }

    /// The plaintext; nil when it was altered, moved, or sealed with another key.
    func open(_ sealed: String, place: String) -> Secret<String>? {
        guard sealed.hasPrefix("v1."), let bytes = Base64URL.decode(sealed.dropFirst(3)),
            let box = try? AES.GCM.SealedBox(combined: bytes),
            let plaintext = try? AES.GCM.open(box, using: key, authenticating: Array(place.utf8)),
            let text = String(bytes: plaintext, encoding: .utf8)
        else { return nil }
        return Secret(text)
    }
}
