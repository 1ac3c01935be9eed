import OrderedCollections
import Storage

/// How a sign-in by a provider goes on.
enum OAuthOutcome: Sendable {
    case signIn(SignInOutcome)
    /// There is a user with this email: they show that it is theirs by `oauth2/merge-confirm`.
    case mergeRequired(OneTimeToken)

    var json: JSON {
        switch self {
        case .signIn(let outcome): outcome.json
        case .mergeRequired(let token): ["merge_required": true, "merge_token": .string(token.text)]
        }
    }
}

/// Finds the user of a profile, or makes one, and signs them in.
///
/// The order (contract §3): a known identity signs in · a verified email that is a user's is linked to that user, or has to be
/// confirmed by them · an unverified email that is taken is refused · anybody else gets an account without a password: their
/// guest account becomes one, or a new one is made.
struct OAuthSignIn: Sendable {
    /// A decision that others overtake is made anew so often.
    static let attemptsMax = 4

    let services: Services
    let sessions: Sessions
    let merges: OAuthMerges

    /// Whose profile it is.
    private enum Match: Sendable {
        case known(Identity)
        /// The user has the profile's email.
        case email(User)
        case nobody(EmailAddress)
    }

    /// What was found is not so any more.
    private struct Overtaken: Error {}

    /// `record` holds fields of the account, if one is made; `guest` is who is signed in as a guest, if anybody is.
    ///
    /// Throws `oauth_profile_incomplete`, `email_taken`, `provider_already_linked`, `forbidden` where nobody may register,
    /// `validation_failed` and the like for the record, and like ``Sessions/begin(_:in:lockout:from:as:with:)``.
    func begin(
        by profile: OAuthProfile,
        at provider: OAuthClient,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish,
        record: OrderedDictionary<String, JSON>,
        guest: Principal?
    ) async throws -> OAuthOutcome {
        var guest = guest
        for _ in 0..<Self.attemptsMax {
            let match = try await match(profile, provider, in: collection)
            do {
                switch match {
                case .known(let identity):
                    return .signIn(try await begin(identity, profile, in: collection, from: client, as: wish))
                case .email(let user):
                    // Who an admin is, a provider alone doesn't say.
                    let settings = try await services.settings()
                    if collection.isAdmins || settings.text("oauth2.link_strategy") == "confirm" {
                        return .mergeRequired(try await merges.ask(profile, provider, with: user, from: client))
                    }
                    return .signIn(try await link(profile, provider, to: user, in: collection, from: client, as: wish))
                case .nobody(let email):
                    let input = try input(email, profile, record, of: guest?.user, in: collection)
                    if let guest {
                        return .signIn(
                            try await promote(guest, input, profile, provider, in: collection, from: client, as: wish)
                        )
                    }
                    return .signIn(
                        try await register(input, profile, provider, in: collection, from: client, as: wish)
                    )
                }
            } catch is Overtaken {
                continue
            } catch let error as AuthError where error.code == .sessionEnded && guest != nil {
                // Like any other credential that does not hold.
                guest = nil
            } catch let error as AuthError where [.identityTaken, .providerAlreadyLinked].contains(error.code) {
                // Somebody else was faster: by now it is known.
                continue
            }
        }
        throw AuthError(.unavailable, retryAfterSeconds: 1)
    }

    private func match(_ profile: OAuthProfile, _ client: OAuthClient, in collection: Collection) async throws -> Match
    {
        let provider = client.provider
        let email = profile.email
        let (identity, user, isLinked) = try await services.db.read { tx in
            let identity = try tx.identity(provider.name, client.realm, profile.subject, in: collection.id)
            let name = email.map { SignInName(kind: .email, text: $0.text) }
            let user = try name.flatMap { try tx.user(named: $0, in: collection.id) }
            let isLinked = try user.map {
                try tx.identities(of: $0.id).contains { $0.isOf(provider.name, client.realm) }
            }
            return (identity, user, isLinked == true)
        }
        if let identity { return .known(identity) }
        guard let email else {
            throw AuthError(
                .oauthProfileIncomplete,
                "\(provider.displayName) did not tell an email address, which a new account needs."
            )
        }
        guard let user else { return .nobody(email) }
        guard profile.isEmailVerified, user.kind == .human else {
            throw AuthError(
                .emailTaken,
                "There is an account with this email already. Sign in to it, then connect \(provider.displayName).",
                details: ["email": "is already taken"]
            )
        }
        // The same address under another subject may be somebody to whom it was given anew.
        // Where nobody has shown the address to be theirs, the link may be a squatter's, and goes.
        guard !isLinked || !user.isEmailVerified else { throw AuthError(.providerAlreadyLinked) }
        return .email(user)
    }

    // MARK: A known identity

    private func begin(
        _ identity: Identity,
        _ profile: OAuthProfile,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let proof = Proof(subject: identity.userID, methods: [.federated], at: now) { tx in
            let current = try tx.identity(identity.provider, identity.realm, identity.subject, in: collection.id)
            guard current?.userID == identity.userID else { throw Overtaken() }
            try tx.noteIdentityUsed(identity.id, email: profile.email?.text, at: now)
            return true
        }
        return try await sessions.begin(federated: proof, in: collection, from: client, as: wish)
    }

    // MARK: An email that is a user's

    /// Links the profile to the user whose email it is.
    ///
    /// Where nobody has shown the email to be theirs, the account may be a trap that somebody else has laid for its owner
    /// (pre-hijacking): whatever it can be signed in by is removed first.
    private func link(
        _ profile: OAuthProfile,
        _ client: OAuthClient,
        to user: User,
        in collection: Collection,
        from address: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let outbox = try await services.outboxIfOn()
        let actor = Actor(id: user.id, client: address)
        let link = PendingLink(profile, client, how: user.isEmailVerified ? .email : .claim)
        let proof = Proof(subject: user.id, methods: [.federated], at: now, link: link) { [services] tx in
            guard let current = try tx.user(user.id, in: collection.id), let email = current.email,
                current.email?.folded == user.email?.folded, current.isEmailVerified == user.isEmailVerified
            else { throw Overtaken() }
            // Who may not sign in claims nothing either; the decision refuses them.
            guard link.how == .claim, current.status == .active, current.kind == .human else { return true }
            try tx.removeAllCredentials(of: user.id, at: now)
            try tx.verifyEmail(email, of: user.id, at: now)
            let details: JSON = ["provider": .string(link.provider)]
            try tx.audit(.accountClaimed, by: actor, on: user.id, details: details, services)
            let notice = Notice.accountClaimed(by: link.displayName, since: current.createdAt)
            try outbox?.notify(current, of: notice, in: collection, from: address, tx)
            return true
        }
        return try await sessions.begin(federated: proof, in: collection, from: address, as: wish)
    }

    // MARK: A new user

    private func input(
        _ email: EmailAddress,
        _ profile: OAuthProfile,
        _ record: OrderedDictionary<String, JSON>,
        of guest: User?,
        in collection: Collection
    ) throws -> RecordInput {
        guard guest != nil || collection.options.registration && !collection.isAdmins else {
            throw AuthError(.forbidden, "Accounts of this collection are made by admins.")
        }
        if record[FieldSchema.email] != nil {
            throw AuthError.validation(["email": "can't be set: it is the provider's"])
        }
        var body = record.merging(guest?.data ?? [:]) { sent, _ in sent }
        body[FieldSchema.email] = .string(email.text)
        // What the provider tells fills fields of these names, if there are such and it fits.
        for (name, value) in [("name", profile.name), ("picture", profile.picture)] where body[name] == nil {
            guard let value, let field = collection.schema[name], field.problem(with: .string(value)) == nil else {
                continue
            }
            body[name] = .string(value)
        }
        return try RecordInput(body, for: .create(.human), in: collection)
    }

    private func register(
        _ input: RecordInput,
        _ profile: OAuthProfile,
        _ client: OAuthClient,
        in collection: Collection,
        from address: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let user = User(
            id: UserID(at: now, random: services.random),
            collectionID: collection.id,
            kind: .human,
            status: .active,
            email: input.email?.text,
            username: input.username.flatMap { $0?.text },
            isEmailVerified: profile.isEmailVerified,
            isAnonymous: false,
            data: try input.applied(to: [:]),
            createdAt: now,
            updatedAt: now
        )
        let actor = Actor(id: user.id, client: address)
        let makes = try await makes(.userRegistered, user.id, profile, client, in: collection, by: actor, at: now) {
            tx in
            try tx.checkUnchanged(collection)
            try tx.insertUser(user, schema: collection.schema)
            return user
        }
        let proof = Proof(subject: user.id, methods: [.federated], at: now) { _ in true }
        return try await sessions.begin(federated: proof, in: collection, from: address, as: wish, with: makes)
    }

    /// The guest keeps their id, and what is in their record.
    private func promote(
        _ guest: Principal,
        _ input: RecordInput,
        _ profile: OAuthProfile,
        _ client: OAuthClient,
        in collection: Collection,
        from address: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let id = guest.user.id
        let actor = guest.actor(from: address)
        let makes = try await makes(.guestPromoted, id, profile, client, in: collection, by: actor, at: now) { tx in
            try tx.promote(id, input, isEmailVerified: profile.isEmailVerified, in: collection, at: now)
        }
        let proof = Proof(subject: id, methods: [.federated], at: now) { _ in true }
        return try await sessions.begin(
            federated: proof,
            in: collection,
            from: address,
            as: wish,
            by: actor,
            with: makes
        )
    }

    /// What makes an account, and what goes with that.
    private func makes(
        _ event: AuditEvent,
        _ id: UserID,
        _ profile: OAuthProfile,
        _ client: OAuthClient,
        in collection: Collection,
        by actor: Actor,
        at now: Timestamp,
        _ make: @escaping @Sendable (Transaction) throws -> User
    ) async throws -> @Sendable (Transaction) throws -> Void {
        let link = PendingLink(profile, client, how: .registration)
        let identity = link.identity(of: id, in: collection, at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        return { [services] tx in
            let user: User
            do {
                user = try make(tx)
            } catch let error as AuthError where error.code == .emailTaken {
                throw Overtaken()
            }
            let details: JSON = [
                "collection": .string(collection.name), "provider": .string(link.provider),
            ]
            try tx.audit(event, by: actor, on: id, details: details, services)
            try tx.link(identity, how: link.how, by: actor, services)
            if !user.isEmailVerified { try outbox?.mailToken(.verify, to: user.addressee(), in: collection, tx) }
        }
    }
}

extension Sessions {
    /// The one end of all that a provider begins.
    ///
    /// Throws like ``begin(_:in:lockout:from:as:by:insteadOf:with:)``.
    func begin(
        federated proof: Proof,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish,
        by actor: Actor? = nil,
        with changes: @escaping @Sendable (Transaction) throws -> Void = { _ in }
    ) async throws -> SignInOutcome {
        let account = Lockout.Account(user: proof.subject, name: nil, collection: collection.id)
        let lockout = Lockout(services: services, account: account, client: client)
        do {
            return try await begin(
                proof,
                in: collection,
                lockout: lockout,
                from: client,
                as: wish,
                by: actor,
                with: changes
            )
        } catch let error as AuthError where error.code == .invalidCredentials {
            throw AuthError(.invalidCredentials, "This account can't sign in. Ask whoever runs this service.")
        }
    }
}

extension Sessions {
    /// What links the proof's account at a provider to its subject, and tells them.
    func linking(_ proof: Proof, in collection: Collection, from client: Client, by actor: Actor?) async throws
        -> @Sendable (Transaction, User) throws -> Void
    {
        guard let link = proof.link else { return { _, _ in } }
        let now = services.clock.now()
        let identity = link.identity(of: proof.subject, in: collection, at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        return { [services] tx, user in
            // Since the ticket for a second factor was given, it may have been linked.
            let actor = actor ?? Actor(id: user.id, client: client)
            let isNew = try tx.linkIfMissing(identity, how: link.how, by: actor, services)
            // Of a claim they are told more.
            guard isNew, link.how != .claim else { return }
            let notice = Notice.signInMethodAdded(link.displayName)
            try outbox?.notify(user, of: notice, in: collection, from: client, tx)
        }
    }
}

extension Transaction {
    /// Links what may be the user's already; tells whether it wasn't.
    ///
    /// Throws like ``link(_:how:by:_:)``.
    func linkIfMissing(_ identity: Identity, how: PendingLink.How, by actor: Actor, _ services: Services) throws -> Bool
    {
        let collection = identity.collectionID
        guard let known = try self.identity(identity.provider, identity.realm, identity.subject, in: collection) else {
            try link(identity, how: how, by: actor, services)
            return true
        }
        guard known.userID == identity.userID else { throw AuthError(.identityTaken) }
        return false
    }

    /// Links what belongs to nobody yet to a user.
    ///
    /// Throws `identity_taken` when it is somebody's, `provider_already_linked` when the user has another of the provider.
    func link(_ identity: Identity, how: PendingLink.How, by actor: Actor, _ services: Services) throws {
        do {
            try insertIdentity(identity)
        } catch DatabaseError.unique("identities_user_id_provider_realm") {
            throw AuthError(.providerAlreadyLinked)
        } catch DatabaseError.unique {
            throw AuthError(.identityTaken)
        }
        let details: JSON = [
            "provider": .string(identity.provider), "subject": .string(identity.subject),
            "how": .string(how.rawValue),
        ]
        try audit(.identityLinked, by: actor, on: identity.userID, details: details, services)
    }
}
