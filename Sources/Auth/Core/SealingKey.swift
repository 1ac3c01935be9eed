import Crypto
import Foundation

/// Encrypts settings and other secrets at rest (AES-256-GCM), each bound to the place it is stored in.
///
/// The key is `<dataDir>/.sealing-key` or `LATCHKEY_SEALING_KEY`. It is not the signing secret: either can be replaced
/// without harm to what the other protects.
struct SealingKey: Sendable {
    static let byteCount = 32
    private let key: SymmetricKey
    private let digestKey: SymmetricKey
    /// What the audit log is chained with.
    let audit: AuditKey

    init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        let root = SymmetricKey(data: bytes)
        func derived(_ purpose: String) -> SymmetricKey {
            HKDF<SHA256>.deriveKey(
                inputKeyMaterial: root,
                info: Array(purpose.utf8),
                outputByteCount: Self.byteCount
            )
        }
        guard let audit = try? AuditKey(derive: derived) else { return nil }
        key = root
        digestKey = derived("latchkey keyed digest")
        self.audit = audit
    }

    /// A keyed digest (HMAC-SHA-256) of a text at its place, for texts so short that all of them can be tried.
    func digest(of text: String, place: String) -> Digest {
        var mac = HMAC<SHA256>(key: digestKey)
        mac.update(data: Array("\(place.utf8.count):\(place)".utf8))
        mac.update(data: Array(text.utf8))
        return Digest(code: mac.finalize())
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
