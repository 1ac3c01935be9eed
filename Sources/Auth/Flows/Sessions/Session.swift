import Storage

/// A signed-in presence.
///
/// Every token is only a view of one; ending it kills them all.
struct Session: Sendable {
    let id: SessionID
    let userID: UserID
    let collectionID: CollectionID
    let kind: Kind
    let methods: [Proof.Method]
    /// When the user last proved who they are.
    let provedAt: Timestamp
    let client: Client
    /// When it began; of one that took the place of another, when that one did.
    var createdAt: Timestamp
    let lastSeenAt: Timestamp
    let expiresAt: Timestamp
    let end: End?
    /// Of its opaque tokens, the newest last.
    var accessTokens: [AccessToken] = []
    /// The end that was asked for: no refresh goes beyond it.
    var notValidAfter: Timestamp?
    /// The device secret that began it.
    var secret: SecretID?
    var impersonation: Impersonator?

    enum Kind: String, Sendable, SQLConvertible {
        case user
        case admin
        /// Of a guest.
        case anonymous
        /// Of a user, in an admin's hands.
        case impersonation

        var window: Window {
            switch self {
            case .user: .user
            case .admin: .admin
            case .anonymous: .anonymous
            case .impersonation: .impersonate
            }
        }

        var audience: SessionClaims.Audience {
            switch self {
            case .user, .anonymous, .impersonation: .user
            case .admin: .admin
            }
        }
    }

    /// Who acts in a session that is not theirs, and in which session of their own.
    struct Impersonator: Sendable, Equatable {
        let admin: UserID
        let session: SessionID
    }

    struct End: Sendable, Equatable {
        let at: Timestamp
        let reason: EndReason
    }

    enum EndReason: String, Sendable, SQLConvertible, CaseIterable {
        case logout
        case revoked
        case expired
        case passwordChanged = "password_changed"
        case suspended
        case deleted
        case secretRotated = "secret_rotated"
        /// An admin ended it.
        case admin
    }

    /// Ended and expired sessions stay for so many days, so that their tokens are told why.
    static let endedKeptDays: Int64 = 30

    /// The first day, counted from 1970, before which a session that is over stays.
    static func removalDay(after end: Timestamp) -> Int64 { end.day + endedKeptDays + 1 }

    /// The opaque token with this digest.
    subscript(digest: Digest) -> AccessToken? { accessTokens.first { $0.digest == digest } }

    /// Why the session can't be used at `now`; nil when it can.
    func endReason(at now: Timestamp) -> EndReason? {
        end?.reason ?? (expiresAt <= now ? .expired : nil)
    }

    /// As its owner sees it in the list of sessions.
    func json(isCurrent: Bool) -> JSON {
        [
            "id": .string(id.rawValue), "created_at": createdAt.json, "last_seen_at": lastSeenAt.json,
            "expires_at": expiresAt.json,
            "ip": .string(client.address), "user_agent": .optional(client.userAgent),
            "amr": .array(methods.map { .string($0.rawValue) }), "current": .bool(isCurrent),
            "impersonated_by": .optional(impersonation?.admin.rawValue),
        ]
    }
}

extension Session {
    /// A new one.
    init(
        _ id: SessionID,
        of user: User,
        _ kind: Kind,
        by proof: Proof,
        from client: Client,
        at now: Timestamp,
        until expiresAt: Timestamp
    ) {
        self.init(
            id: id,
            userID: user.id,
            collectionID: user.collectionID,
            kind: kind,
            methods: proof.methods,
            provedAt: proof.at,
            client: client,
            createdAt: now,
            lastSeenAt: now,
            expiresAt: expiresAt,
            end: nil,
            secret: proof.secret
        )
    }
}

extension Session {
    /// About how many bytes it takes in a cache: five ids, the address and the user agent, its opaque tokens.
    var memoryBytes: Int {
        MemoryLayout<Session>.stride + 5 * 80 + (client.userAgent?.memoryBytes ?? 0) + client.address.memoryBytes
            + methods.count + accessTokens.count * 96
    }
}
