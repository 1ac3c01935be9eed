import CArgon2
import Storage

/// An Argon2id hash of a password (RFC 9106) as libsodium's self-describing text,
/// `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
struct PasswordHash: RawRepresentable, Sendable, SQLConvertible {
    let rawValue: String

    /// 19 MiB and two passes: the first of OWASP's recommended settings for Argon2id.
    static let memoryBytes = 19_456 * 1024
    static let passes: UInt64 = 2

    /// Verified in place of an account's own hash when there is no such account, so that both cost the same.
    ///
    /// No password matches it: its last 32 bytes are not the output of anything.
    static let dummy = PasswordHash(
        rawValue: "$argon2id$v=19$m=19456,t=2,p=1$bGF0Y2hrZXktZHVtbXktcw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    )
}

/// Makes and verifies password hashes on the ``HashingThreads``.
struct PasswordHasher: Sendable {
    let threads: HashingThreads

    /// Throws `overloaded` when too many wait already.
    func hash(_ password: Secret<String>) async throws -> PasswordHash {
        try await threads.run {
            var text = [CChar](repeating: 0, count: 128)
            let bytes = Array(password.reveal().utf8)
            let outcome = bytes.withUnsafeBytes { pointer in
                lk_argon2_hash(&text, pointer.baseAddress, pointer.count, PasswordHash.passes, PasswordHash.memoryBytes)
            }
            guard outcome == LK_ARGON2_OK.rawValue else { throw AuthError(.overloaded, retryAfterSeconds: 1) }
            return PasswordHash(
                rawValue: String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            )
        }
    }

    /// Throws `overloaded` when too many wait already.
    func matches(_ password: Secret<String>, _ hash: PasswordHash) async throws -> Bool {
        try await threads.run {
            let bytes = Array(password.reveal().utf8)
            return bytes.withUnsafeBytes { pointer in
                lk_argon2_verify(hash.rawValue, pointer.baseAddress, pointer.count) == LK_ARGON2_OK.rawValue
            }
        }
    }

    /// True when the hash was made with other parameters than today's.
    func isOutdated(_ hash: PasswordHash) -> Bool {
        lk_argon2_is_outdated(hash.rawValue, PasswordHash.passes, PasswordHash.memoryBytes) != 0
    }
}
