import OrderedCollections
import Storage

/// Guests: accounts without email and password, which can become real ones and keep their id.
struct Guests: Sendable {
    /// Looked at together.
    static let batchMax = 8

    let services: Services
    let sessions: Sessions
    let accounts: Accounts

    /// Makes a guest and signs them in.
    ///
    /// Throws `forbidden` where nobody may register, `locked_out`.
    func begin(in collection: Collection, from client: Client) async throws -> SignInOutcome {
        guard collection.options.registration && !collection.isAdmins else {
            throw AuthError(.forbidden, "Accounts of this collection are made by admins.")
        }
        let now = services.clock.now()
        let guest = User(guest: UserID(at: now, random: services.random), in: collection, at: now)
        let account = Lockout.Account(user: guest.id, name: nil, collection: collection.id)
        let proof = Proof(subject: guest.id, methods: [.anonymous], at: now) { _ in true }
        return try await sessions.begin(
            proof,
            in: collection,
            lockout: Lockout(services: services, account: account, client: client),
            from: client
        ) { [services] tx in
            try tx.checkUnchanged(collection)
            try tx.insertUser(guest, schema: collection.schema)
            let details: AuditDetails = ["collection": .string(collection.name)]
            try tx.audit(
                .guestCreated,
                by: Actor(id: guest.id, client: client),
                on: guest.id,
                details: details,
                services
            )
        }
    }

    /// Makes the caller's guest account a real one, with the same id: what register asks for is asked for here, but for what
    /// the guest's record holds already.
    ///
    /// Their sessions end, API keys that an admin has given them go, and a new session begins. A link that verifies the email is mailed if mail can go out. Throws
    /// `session_required`, `session_ended`, `forbidden` for who is no guest, `validation_failed`, `email_taken`, `username_taken`, `value_taken`.
    func promote(_ body: JSON.Members, by principal: Principal, from client: Client) async throws
        -> SignInOutcome
    {
        _ = try principal.signedInSession()
        let guest = principal.user
        guard guest.isAnonymous else { throw AuthError(.forbidden, "This is a real account already.") }
        let collection = principal.collection
        let new = Accounts.NewAccount(kind: .human, status: .active, isEmailVerified: false, handled: ["password"])
        let whole = body.merging(guest.data) { sent, _ in sent }
        let (input, password) = try await accounts.validated(new, whole, in: collection)
        guard let password else { throw AuthError.validation(["password": "is required"]) }
        let hash = try await services.hasher.hash(password)
        let outbox = try await services.outboxIfOn()
        let now = services.clock.now()
        let id = Identifier<PasswordHash>(at: now, random: services.random)
        let actor = principal.actor(from: client)
        let account = Lockout.Account(user: guest.id, name: nil, collection: collection.id)
        let proof = Proof(subject: guest.id, methods: [.password], at: now) { tx in
            try tx.passwordHash(of: guest.id)?.rawValue == hash.rawValue
        }
        return try await sessions.begin(
            proof,
            in: collection,
            lockout: Lockout(services: services, account: account, client: client),
            from: client,
            by: actor
        ) { [services] tx in
            let user = try tx.promote(guest.id, input, in: collection, at: now)
            try tx.putPassword(hash, of: guest.id, id: id, at: now)
            try tx.audit(.guestPromoted, by: actor, on: guest.id, services)
            try outbox?.mailToken(.verify, to: user.addressee(), in: collection, tx)
        }
    }

    /// Removes guests who were never promoted, so many days after their last token has expired, in small steps.
    func sweep() async throws {
        let days = try await services.settings().count("auth.anonymous.kept_days")
        let now = services.clock.now()
        let time = now.advanced(bySeconds: -days * 86_400)
        try await Steps(db: services.db).run(from: GuestPlace.start) { [services] tx, place in
            let guests = try tx.guests(after: place, before: time, count: Self.batchMax)
            for guest in guests where guest.isAbandoned {
                _ = try tx.deleteUser(guest.id, at: now)
                try tx.audit(.guestRemoved, by: .server, on: guest.id, services)
            }
            let end = guests.last?.place ?? place
            return guests.count < Self.batchMax ? .finished(end) : .more(end)
        }
    }
}

extension Transaction {
    /// Makes a guest's account a real one, of which nobody else has hold: the guest's sessions end, and API keys that an admin has
    /// given them go.
    ///
    /// Throws `forbidden` when it is one already, `validation_failed` without an email, `not_found`, `email_taken`,
    /// `username_taken`, `value_taken`.
    func promote(
        _ id: UserID,
        _ input: RecordInput,
        isEmailVerified: Bool = false,
        in collection: Collection,
        at now: Timestamp
    ) throws -> User {
        try checkUnchanged(collection)
        guard let email = input.email else { throw AuthError.validation(["email": "is required"]) }
        guard let stored = try user(id, in: collection.id) else { throw AuthError(.notFound) }
        // Of two promotions at once, one finds a guest.
        guard stored.isAnonymous else { throw AuthError(.forbidden, "This is a real account already.") }
        let user = try stored.promoted(to: email, isVerified: isEmailVerified, input, at: now)
        try updateUser(user, schema: collection.schema)
        try removeAPIKeys(of: id)
        try endSessions(of: id, because: .revoked, at: now)
        return user
    }
}

extension EmailAddress {
    /// Whether it is, or could be, a guest's.
    var isGuests: Bool { folded.hasSuffix("@" + User.guestDomain) }
}

extension User {
    /// Whose addresses are never mailed to, nor taken by anybody (RFC 6761 §6.4).
    static let guestDomain = "anonymous.invalid"

    fileprivate init(guest id: UserID, in collection: Collection, at now: Timestamp) {
        self.init(
            id: id,
            collectionID: collection.id,
            kind: .human,
            status: .active,
            email: "anon_\(id)@\(Self.guestDomain)",
            username: nil,
            isEmailVerified: false,
            isAnonymous: true,
            data: [:],
            createdAt: now,
            updatedAt: now
        )
    }

    fileprivate func promoted(to email: EmailAddress, isVerified: Bool, _ input: RecordInput, at now: Timestamp) throws
        -> User
    {
        User(
            id: id,
            collectionID: collectionID,
            kind: kind,
            status: status,
            email: email.text,
            username: input.username.map { $0?.text } ?? username,
            isEmailVerified: isVerified,
            isAnonymous: false,
            data: try input.applied(to: data),
            createdAt: createdAt,
            updatedAt: now,
            lastLoginAt: lastLoginAt
        )
    }
}
