import Crypto
import Storage

/// SHA-256 of a token or a text, with a key or without: what is stored, compared and used as a cache key in its place.
///
/// Safe without salt or key for tokens of 128 random bits and more: equal digests reveal nothing, and nobody can try all of
/// them.
struct Digest: Hashable, Sendable, SQLConvertible {
    let bytes: [UInt8]

    init(of text: String) {
        self.init(of: Array(text.utf8))
    }

    init(of message: [UInt8]) {
        bytes = Array(SHA256.hash(data: message))
    }

    init(code: HMAC<SHA256>.MAC) {
        bytes = Array(code)
    }

    init(hash: SHA256.Digest) {
        bytes = Array(hash)
    }

    var sqlValue: Value { .blob(bytes) }

    init?(sqlValue: Value) {
        guard case .blob(let bytes) = sqlValue, bytes.count == SHA256.byteCount else { return nil }
        self.bytes = bytes
    }

    /// The first eight bytes are uniformly distributed: hashing them again would add nothing but time.
    func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: $0.prefix(8))) }
    }
}
