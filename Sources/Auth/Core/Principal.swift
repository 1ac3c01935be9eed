/// Who a request acts as, by whatever credential it came.
struct Principal: Sendable {
    let user: User
    let collection: Collection
    let credential: Credential

    /// What they have shown with the request.
    enum Credential: Sendable {
        /// A token of either type, valid until `expiresAt`.
        case token(TokenType, of: Session, expiresAt: Timestamp)
        case apiKey(UserSecret)
    }

    /// Nil for who acts by an API key.
    var session: Session? {
        if case .token(_, let session, _) = credential { session } else { nil }
    }

    /// Nil for who acts by a token.
    var apiKey: UserSecret? {
        if case .apiKey(let key) = credential { key } else { nil }
    }

    /// Throws `session_required` for who acts by an API key.
    func signedInSession() throws -> Session {
        guard let session else { throw AuthError(.sessionRequired) }
        return session
    }

    /// For what could take over others' accounts: neither an API key nor a trusted device is a person before it.
    ///
    /// However long ago they signed in. Throws `session_required`, `reauthentication_required`.
    func checkPerson() throws {
        guard try signedInSession().methods.contains(where: \.isOfPerson) else {
            throw AuthError(
                .reauthenticationRequired,
                "A trusted device can't do this alone: log in with the password."
            )
        }
    }

    /// The admin behind an impersonation.
    var impersonator: UserID? { session?.impersonation?.admin }

    /// A key that is narrowed to some permissions makes nobody an admin.
    var isAdmin: Bool {
        switch credential {
        case .token(_, let session, _): collection.isAdmins && session.kind == .admin
        case .apiKey(let key): collection.isAdmins && key.scopes == nil
        }
    }

    /// As `me` tells it, like the claims of a JWT.
    var claims: (audience: SessionClaims.Audience, expiresAt: Timestamp?, methods: [String]) {
        switch credential {
        case .token(_, let session, let expiresAt):
            (session.kind.audience, expiresAt, session.methods.map(\.rawValue))
        case .apiKey(let key): (collection.isAdmins ? .admin : .user, key.expiresAt, [key.type.rawValue])
        }
    }

    /// A proof is fresh for so long.
    static let freshSeconds: Int64 = 600

    /// Whether they have proved who they are a short while ago, at the highest level that they have: with the second
    /// factor, if there is one.
    ///
    /// Neither an API key nor a trusted device is a proof that its owner sits before it.
    func isFresh(at now: Timestamp) -> Bool {
        guard let session, session.methods.contains(where: \.isOfPerson) else { return false }
        return now.seconds(since: session.provedAt) < Self.freshSeconds
            && (!user.isMFAEnabled || session.methods.contains(.multiFactor))
    }

    /// Whether they must have a second factor and have none.
    ///
    /// Not while the feature is off: nobody could set one up. API keys, guests and impersonating
    /// admins are exempt.
    func mustEnrol(_ settings: Settings) -> Bool {
        guard session != nil, !user.isMFAEnabled, user.kind == .human, !user.isAnonymous, impersonator == nil else {
            return false
        }
        return switch settings.mfaRequirement {
        case .off: collection.options.mfaRequired
        case .admins: collection.isAdmins || collection.options.mfaRequired
        case .all: true
        case .impossible: false
        }
    }

    /// As the audit log names whoever acts.
    func actor(from client: Client) -> Actor {
        Actor(id: user.id, impersonatedBy: impersonator, session: session?.id, apiKey: apiKey?.id, client: client)
    }
}
