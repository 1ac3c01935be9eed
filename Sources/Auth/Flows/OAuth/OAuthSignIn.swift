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
        /// With the account's email, where the provider has come to say that it is theirs.
        case known(Identity, confirmed: String?)
        /// The user has the profile's email.
        case email(User)
        case nobody(EmailAddress)
    }

    /// What was found is not so any more.
    private struct Overtaken: Error {}

    /// Who has come back from a provider, and what they want.
    struct Arrival: Sendable {
        let profile: OAuthProfile
        let provider: OAuthClient
        let collection: Collection
        let client: Client
        let wish: TokenWish
        /// Fields of the account, if one is made.
        let record: JSON.Members
        /// Who is signed in as a guest, if anybody is.
        var guest: Principal?
        /// What is good for one sign-in: an ID token from the provider itself.
        let spent: OneTimeToken?

        /// Spends it with what comes of it: a record that is refused leaves it good.
        ///
        /// Throws `invalid_id_token` when it was spent before.
        func spend(at now: Timestamp, _ tx: Transaction) throws {
            guard let spent else { return }
            guard try tx.claimOneTimeToken(spent, for: .idToken, of: .server, at: now) else {
                throw AuthError(.invalidIDToken, "This ID token was used before. Get a new one.")
            }
        }
    }

    /// Throws `oauth_profile_incomplete`, `email_taken`, `provider_already_linked`, `forbidden` where nobody may register,
    /// `validation_failed` and the like for the record, and like ``Sessions/begin(_:in:lockout:from:as:by:insteadOf:with:)``.
    func begin(_ arrival: Arrival) async throws -> OAuthOutcome {
        var arrival = arrival
        for _ in 0..<Self.attemptsMax {
            let match = try await match(arrival)
            do {
                switch match {
                case .known(let identity, let email):
                    return .signIn(try await begin(identity, confirmed: email, arrival))
                case .email(let user):
                    // Who an admin is, a provider alone doesn't say.
                    let settings = try await services.settings()
                    if arrival.collection.isAdmins || settings.text("oauth2.link_strategy") == "confirm" {
                        return .mergeRequired(try await merges.ask(arrival, with: user))
                    }
                    return .signIn(try await link(arrival, to: user))
                case .nobody(let email): return .signIn(try await makeAccount(email, arrival))
                }
            } catch is Overtaken {
                continue
            } catch let error as AuthError where error.code == .sessionEnded && arrival.guest != nil {
                // Like any other credential that does not hold.
                arrival.guest = nil
            } catch let error as AuthError where [.identityTaken, .providerAlreadyLinked].contains(error.code) {
                // Somebody else was faster: by now it is known.
                continue
            }
        }
        throw AuthError(.unavailable, retryAfterSeconds: 1)
    }

    private func match(_ arrival: Arrival) async throws -> Match {
        let (profile, client, provider) = (arrival.profile, arrival.provider, arrival.provider.provider)
        let collection = arrival.collection.id
        let (identity, user, isLinked) = try await services.db.read { tx in
            let identity = try tx.identity(provider.name, client.realm, profile.subject, in: collection)
            let name = profile.email.map { SignInName(kind: .email, text: $0.text) }
            let user = try name.flatMap { try tx.user(named: $0, in: collection) }
            let isLinked = try user.map {
                try tx.identities(of: $0.id).contains { $0.isOf(provider.name, client.realm) }
            }
            return (identity, user, isLinked == true)
        }
        if let identity {
            let isConfirmed = profile.isEmailVerified && user?.id == identity.userID && user?.isEmailVerified == false
            return .known(identity, confirmed: isConfirmed ? user?.email : nil)
        }
        guard let email = profile.email else {
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

    private func begin(_ identity: Identity, confirmed: String?, _ arrival: Arrival) async throws -> SignInOutcome {
        let now = services.clock.now()
        let (collection, email) = (arrival.collection, arrival.profile.email?.text)
        let actor = Actor(id: identity.userID, client: arrival.client)
        let proof = Proof(subject: identity.userID, methods: [.federated], at: now) { [services] tx in
            let current = try tx.identity(identity.provider, identity.realm, identity.subject, in: collection.id)
            guard current?.userID == identity.userID else { throw Overtaken() }
            try tx.noteIdentityUsed(identity.id, email: email, at: now)
            if let confirmed, try tx.verifyEmail(confirmed, of: identity.userID, at: now) {
                let details: AuditDetails = ["provider": .string(identity.provider)]
                try tx.audit(.emailVerified, by: actor, on: identity.userID, details: details, services)
            }
            return true
        }
        return try await sessions.begin(federated: proof, in: collection, from: arrival.client, as: arrival.wish) {
            tx in
            try arrival.spend(at: now, tx)
        }
    }

    // MARK: An email that is a user's

    /// Links the profile to the user whose email it is.
    ///
    /// Where nobody has shown the email to be theirs, the account may be a trap that somebody else has laid for its owner
    /// (pre-hijacking): whatever it can be signed in by is removed first.
    private func link(_ arrival: Arrival, to user: User) async throws -> SignInOutcome {
        let now = services.clock.now()
        let (collection, client) = (arrival.collection, arrival.client)
        let outbox = try await services.outboxIfOn()
        let actor = Actor(id: user.id, client: client)
        let link = PendingLink(arrival.profile, arrival.provider, how: user.isEmailVerified ? .email : .claim)
        let proof = Proof(subject: user.id, methods: [.federated], at: now, link: link) { [services] tx in
            guard let current = try tx.user(user.id, in: collection.id), let email = current.email,
                current.email?.folded == user.email?.folded, current.isEmailVerified == user.isEmailVerified
            else { throw Overtaken() }
            // Who may not sign in claims nothing either; the decision refuses them.
            guard link.how == .claim, current.status == .active, current.kind == .human else { return true }
            try tx.removeAllCredentials(of: user.id, at: now)
            try tx.verifyEmail(email, of: user.id, at: now)
            let details: AuditDetails = ["provider": .string(link.provider)]
            try tx.audit(.accountClaimed, by: actor, on: user.id, details: details, services)
            let notice = Notice.accountClaimed(by: link.displayName, since: current.createdAt)
            try outbox?.notify(current, of: notice, in: collection, from: client, tx)
            return true
        }
        return try await sessions.begin(federated: proof, in: collection, from: client, as: arrival.wish) { tx in
            try arrival.spend(at: now, tx)
        }
    }

    // MARK: A new account

    /// The guest's, who keeps their id and what is in their record, or a new one.
    private func makeAccount(_ email: EmailAddress, _ arrival: Arrival) async throws -> SignInOutcome {
        let (profile, collection) = (arrival.profile, arrival.collection)
        let input = try input(email, arrival)
        let now = services.clock.now()
        let guest = arrival.guest
        let id = guest?.user.id ?? UserID(at: now, random: services.random)
        let actor = guest?.actor(from: arrival.client) ?? Actor(id: id, client: arrival.client)
        let new = try User(id, input, isEmailVerified: profile.isEmailVerified, in: collection, at: now)
        let link = PendingLink(profile, arrival.provider, how: .registration)
        let identity = link.identity(of: id, in: collection, at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        let proof = Proof(subject: id, methods: [.federated], at: now) { _ in true }
        return try await sessions.begin(
            federated: proof,
            in: collection,
            from: arrival.client,
            as: arrival.wish,
            by: guest == nil ? nil : actor
        ) { [services] tx in
            try arrival.spend(at: now, tx)
            var user = new
            do {
                if guest == nil {
                    try tx.checkUnchanged(collection)
                    try tx.insertUser(new, schema: collection.schema)
                } else {
                    user = try tx.promote(id, input, isEmailVerified: new.isEmailVerified, in: collection, at: now)
                }
            } catch let error as AuthError where error.code == .emailTaken {
                throw Overtaken()
            }
            let details: AuditDetails = ["collection": .string(collection.name), "provider": .string(link.provider)]
            let event = guest == nil ? AuditEvent.userRegistered : .guestPromoted
            try tx.audit(event, by: actor, on: id, details: details, services)
            try tx.link(identity, how: link.how, by: actor, services)
            if !user.isEmailVerified { try outbox?.mailToken(.verify, to: user.addressee(), in: collection, tx) }
        }
    }

    private func input(_ email: EmailAddress, _ arrival: Arrival) throws -> RecordInput {
        let (profile, collection) = (arrival.profile, arrival.collection)
        guard arrival.guest != nil || collection.options.registration && !collection.isAdmins else {
            throw AuthError(.forbidden, "Accounts of this collection are made by admins.")
        }
        if arrival.record[FieldSchema.email] != nil {
            throw AuthError.validation(["email": "can't be set: it is the provider's"])
        }
        var body = arrival.record.merging(arrival.guest?.user.data ?? [:]) { sent, _ in sent }
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
