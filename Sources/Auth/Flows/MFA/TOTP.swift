import Crypto

/// Time-based one-time passwords (RFC 6238): HMAC-SHA-1, steps of 30 seconds, six digits, as every authenticator reads
/// them.
struct TOTP: Sendable {
    /// 160 bits, as RFC 4226 §4 recommends.
    static let keyByteCount = 20
    static let stepSeconds: Int64 = 30
    static let digitCount = 6
    /// Steps before and after the present one, for clocks that differ and codes that are typed slowly.
    private static let drift: Int64 = 1

    private let key: SymmetricKey
    private let bytes: [UInt8]

    init(key bytes: [UInt8]) {
        self.bytes = bytes
        key = SymmetricKey(data: bytes)
    }

    init(random: Random) {
        self.init(key: random.bytes(Self.keyByteCount))
    }

    /// Nil for what isn't base32.
    init?(secret: String) {
        guard let bytes = Base32.decode(secret) else { return nil }
        self.init(key: bytes)
    }

    /// The key in base32 (RFC 4648 §6), as it is typed where no picture can be taken.
    var secret: Secret<String> { Secret(Base32.encode(bytes)) }

    static func step(at time: Timestamp) -> Int64 { time.seconds / stepSeconds }

    /// RFC 4226 §5.3.
    func code(at step: Int64) -> String {
        var counter = UInt64(bitPattern: step).bigEndian
        let mac = withUnsafeBytes(of: &counter) { counter in
            Array(HMAC<Insecure.SHA1>.authenticationCode(for: counter, using: key))
        }
        let offset = Int(mac[mac.count - 1] & 0x0F)
        let number = mac[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7FFF_FFFF
        let digits = String(number % 1_000_000)
        return String(repeating: "0", count: Self.digitCount - digits.count) + digits
    }

    /// The step whose code this is, of those that are acceptable now; nil when it is none's.
    ///
    /// All of them are compared, whichever matches.
    func step(of code: OneTimeCode, at time: Timestamp) -> Int64? {
        let now = Self.step(at: time)
        var found: Int64?
        for step in now - Self.drift...now + Self.drift where Digest(of: self.code(at: step)) == Digest(of: code.text) {
            found = step
        }
        return found
    }

    /// What authenticators read from a picture or a link.
    func url(account: String, issuer: String) -> String {
        func escaped(_ text: String) -> String {
            text.utf8.map { byte in
                let character = Character(Unicode.Scalar(byte))
                let isPlain = byte < 128 && (character.isLetter || character.isNumber || "-._~@".contains(character))
                return isPlain ? String(character) : "%" + Hex.encode(CollectionOfOne(byte)).uppercased()
            }.joined()
        }
        return "otpauth://totp/\(escaped(issuer)):\(escaped(account))?secret=\(secret.reveal())"
            + "&issuer=\(escaped(issuer))&algorithm=SHA1&digits=\(Self.digitCount)&period=\(Self.stepSeconds)"
    }
}

/// Base32 without padding (RFC 4648 §6).
enum Base32 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        var (buffer, bits) = (UInt32(0), 0)
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            bits += 8
            while bits >= 5 {
                bits -= 5
                text.append(alphabet[Int(buffer >> UInt32(bits) & 31)])
            }
        }
        if bits > 0 { text.append(alphabet[Int(buffer << UInt32(5 - bits) & 31)]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil for foreign characters.
    static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var (buffer, bits) = (UInt32(0), 0)
        for character in text.utf8 {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            buffer = buffer << 5 | UInt32(value)
            bits += 5
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: buffer >> UInt32(bits)))
            }
        }
        return bytes
    }
}
