import Storage

/// What a one-time token is good for.
///
/// There is one store of them (``Transaction/issueOneTimeToken(_:code:for:of:payload:at:)``). Only digests are kept, a
/// token is redeemed by one conditional update, and wrong codes are counted: of any number of parallel redemptions
/// exactly one succeeds.
enum SingleUsePurpose: String, Sendable, SQLConvertible {
    /// Creating the first admin.
    case setUp = "set_up"
    /// Showing that an email is one's own.
    case verify
    /// Setting a forgotten password.
    case reset
    /// The same, and getting around a lost second factor.
    case recover
    /// Signing in by mail.
    case otp
    /// Moving to another email.
    case emailChange = "email_change"
    /// Going on with a sign-in whose first factor was right.
    case secondFactor = "second_factor"
    /// Coming back from a provider: OAuth's `state`.
    case oauthState = "oauth_state"
    /// Linking a provider's account to a user who has the same email.
    case merge
    /// An ID token that was used to sign in, so that it is not used again.
    case idToken = "id_token"

    var lifetimeSeconds: Int {
        switch self {
        case .setUp, .verify, .emailChange: 86_400
        case .reset, .recover: 3600
        case .otp, .oauthState, .merge: 600
        case .secondFactor: 300
        case .idToken: IDToken.keptSecondsMax
        }
    }

    /// Whether a subject may have several that are live.
    var hasMany: Bool {
        switch self {
        case .setUp, .verify, .reset, .recover, .otp, .emailChange: false
        case .secondFactor, .oauthState, .merge, .idToken: true
        }
    }

    /// So many unused ones of a purpose may a user have; a further one takes the place of the oldest.
    static let outstandingMax = 20

    /// Whether a short code goes with the token.
    var hasCode: Bool { self == .otp }
}

/// Whom a one-time token is for.
enum OneTimeSubject: Sendable {
    /// The server as a whole.
    case server
    case user(UserID)
    /// Nobody: a token that is never told, so that an unknown address costs the same work as a known one.
    ///
    /// The id is random.
    case nobody(UserID)

    var user: UserID? {
        if case .user(let id) = self { id } else { nil }
    }

    /// What there is one live token of; nil where there may be several.
    func slot(_ purpose: SingleUsePurpose) -> String? {
        guard !purpose.hasMany else { return nil }
        return switch self {
        case .server: purpose.rawValue
        case .user(let id), .nobody(let id): "\(purpose.rawValue):\(id)"
        }
    }
}

/// What a redeemed token allows.
struct OneTimeGrant: Sendable {
    let purpose: SingleUsePurpose
    /// Nil for the server as a whole.
    let subject: UserID?
    /// What was stored with it, such as a new email.
    let payload: String?
}

/// 32 random bytes as base64url: what is mailed or printed, never stored.
struct OneTimeToken: Sendable {
    static let byteCount = 32
    let text: String

    init(random: Random) {
        text = Base64URL.encode(random.bytes(Self.byteCount))
    }

    /// A text that somebody else has chosen, such as OAuth's `state`; purposes are kept apart, and collections where one is named.
    init(chosen text: String, for purpose: SingleUsePurpose, in collection: CollectionID? = nil) {
        self.text = "\(purpose.rawValue):\(collection?.rawValue ?? ""):\(text)"
    }

    /// Nil for what can't be a token, so that it never reaches the database.
    init?(parsing raw: String) {
        guard let bytes = Base64URL.decode(raw), bytes.count == Self.byteCount else { return nil }
        text = raw
    }

    var digest: Digest { Digest(of: text) }
}

/// What became of a code that was sent.
enum OneTimeCodeOutcome: Sendable {
    case redeemed
    case wrong
    /// It was the right one, and was used before.
    case spent
}

/// Six random digits, for people who read a mail on one device and sign in on another.
struct OneTimeCode: Sendable {
    static let digitCount = 6
    /// After so many wrong ones the token dies, and with it the code: one guess in 200,000 succeeds.
    static let missesMax = 5
    let text: String

    init(random: Random) {
        var digits = ""
        while digits.count < Self.digitCount {
            // 250 is the largest multiple of ten in a byte: what is left over would favour some digits.
            for byte in random.bytes(Self.digitCount) where byte < 250 && digits.count < Self.digitCount {
                digits.append(String(byte % 10))
            }
        }
        text = digits
    }

    /// Spaces and hyphens don't count; nil for what can't be a code.
    init?(parsing raw: String) {
        guard raw.utf8.count <= 32 else { return nil }
        let digits = raw.filter { $0 != " " && $0 != "-" }
        guard digits.utf8.count == Self.digitCount, digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
            return nil
        }
        text = digits
    }

    /// Under a key that is not in the database: a million codes are tried in no time.
    func digest(_ purpose: SingleUsePurpose, of subject: OneTimeSubject, by key: SealingKey) -> Digest {
        key.digest(of: text, place: "code:\(subject.slot(purpose) ?? "")")
    }
}

/// Whom a one-time token would serve.
struct OneTimeHolder: Sendable {
    let user: User
    let grant: OneTimeGrant
}

extension Services {
    /// The user whom a redemption of the token would be for now; decides nothing.
    func holder(of token: OneTimeToken, for purposes: [SingleUsePurpose], in collection: Collection) async throws
        -> OneTimeHolder?
    {
        let now = clock.now()
        return try await db.read { tx in
            guard let grant = try tx.liveOneTimeToken(token, for: purposes, at: now),
                let user = try tx.activeUser(of: grant, in: collection)
            else { return nil }
            return OneTimeHolder(user: user, grant: grant)
        }
    }
}
