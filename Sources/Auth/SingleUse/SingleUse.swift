import Storage

/// The one store of one-time tokens.
///
/// Only digests are kept; a token is redeemed by one conditional update, so that of any number of parallel redemptions
/// exactly one succeeds.
enum SingleUsePurpose: String, Sendable, SQLConvertible {
    /// Creating the first admin.
    case setUp = "set_up"

    var lifetimeSeconds: Int {
        switch self {
        case .setUp: 86_400
        }
    }
}

/// 32 random bytes as base64url: what is mailed or printed, never stored.
struct OneTimeToken: Sendable {
    static let byteCount = 32
    let text: String

    init(random: Random) {
        text = Base64URL.encode(random.bytes(Self.byteCount))
    }

    /// Nil for what can't be a token, so that it never reaches the database.
    init?(parsing raw: String) {
        guard let bytes = Base64URL.decode(raw), bytes.count == Self.byteCount else { return nil }
        text = raw
    }

    var digest: Digest { Digest(of: text) }
}
