/// A random token that means nothing by itself: a prefix that tells its kind, random bytes and a checksum.
///
/// The prefix lets secret scanners find leaked ones; the checksum refuses a mistyped one without a look at the database.
struct OpaqueToken: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case accessToken = "lk_at_"
        case apiKey = "lk_key_"

        /// Bytes before the random ones, such as an id.
        fileprivate var leadByteCount: Int { self == .accessToken ? 16 : 0 }
        fileprivate var payloadByteCount: Int { leadByteCount + OpaqueToken.randomByteCount }
    }

    static let randomByteCount = 32

    let kind: Kind
    private let payload: [UInt8]
    let text: Secret<String>

    /// A view of a session, which it names.
    init(accessTo session: SessionID, random: Random) {
        self.init(.accessToken, session.bytes + random.bytes(Self.randomByteCount))
    }

    init(apiKey random: Random) {
        self.init(.apiKey, random.bytes(Self.randomByteCount))
    }

    /// Nil for what can't be one of this kind: altered, cut off, padded, in other letter cases.
    init?(parsing raw: String, _ kind: Kind) {
        guard raw.hasPrefix(kind.rawValue),
            let bytes = Base64URL.decode(raw.dropFirst(kind.rawValue.count)),
            bytes.count > kind.payloadByteCount
        else { return nil }
        let token = OpaqueToken(kind, Array(bytes.prefix(kind.payloadByteCount)))
        guard token.text.reveal() == raw else { return nil }
        self = token
    }

    private init(_ kind: Kind, _ payload: [UInt8]) {
        self.kind = kind
        self.payload = payload
        // Four to six bytes, so that base64url comes out even and each token has one spelling.
        let checksum = Digest(of: Array(kind.rawValue.utf8) + payload).bytes.prefix(6 - payload.count % 3)
        text = Secret(kind.rawValue + Base64URL.encode(payload + checksum))
    }

    /// The session that an access token names.
    var session: SessionID? { SessionID(bytes: Array(payload.prefix(kind.leadByteCount))) }

    var digest: Digest { Digest(of: text.reveal()) }
}
