import OrderedCollections
import Storage

/// A user's secrets as one resource (seed 003): what there is, what is added, replaced and removed.
///
/// Each type is made by the flow that knows it; what holds for all is here.
struct Secrets: Sendable {
    let services: Services
    let accounts: Accounts
    let passwords: Passwords
    let factors: SecondFactors
    let apiKeys: APIKeys
    let devices: Devices
    let reauthentication: Reauthentication

    /// Whose secrets a request is about, and who makes it.
    struct Subject: Sendable {
        let user: User
        let collection: Collection
        let principal: Principal
        let client: Client
        /// The second factor that came with the request.
        let factor: SecondFactors.Factor?

        var isSelf: Bool { principal.user.id == user.id }
        var actor: Actor { principal.actor(from: client) }
    }

    /// Throws `not_found`.
    func subject(_ id: String, _ principal: Principal, factor: SecondFactors.Factor?, from client: Client) async throws
        -> Subject
    {
        if id == Route.me || id == principal.user.id.rawValue {
            return Subject(
                user: principal.user,
                collection: principal.collection,
                principal: principal,
                client: client,
                factor: factor
            )
        }
        guard let id = UserID(rawValue: id), let user = try await services.db.read({ tx in try tx.user(id) }),
            let collection = try await services.collections()[id: user.collectionID]
        else { throw AuthError(.notFound) }
        return Subject(user: user, collection: collection, principal: principal, client: client, factor: factor)
    }

    /// Oldest first.
    func list(of subject: Subject, page: Paging) async throws -> PageOf<UserSecret> {
        try await services.lastUsed.flush(to: services.db)
        let secrets = try await services.db.read { tx in try tx.secrets(of: subject.user.id) }
        return try services.page(page, of: secrets, named: "secrets:\(subject.user.id)") { secret in
            [.integer(secret.createdAt.milliseconds), .text(secret.id.rawValue)]
        }
    }

    /// Throws `not_found`.
    func find(_ id: String, of subject: Subject) async throws -> UserSecret {
        try await services.lastUsed.flush(to: services.db)
        return try await stored(id, of: subject)
    }

    // MARK: Adding

    /// A first password.
    ///
    /// Throws `secret_exists`, `validation_failed`, `reauthentication_required`, `session_required`.
    func addPassword(_ text: Secret<String>, to subject: Subject) async throws -> UserSecret {
        let user = subject.user
        guard user.kind == .human else {
            throw AuthError.validation(["type": "can't be password: system users act through API keys"])
        }
        try await checkProved(subject)
        guard !user.isAnonymous else { throw AuthError.guestPassword("type") }
        guard try await services.db.read({ tx in try tx.passwordHash(of: user.id) }) == nil else {
            throw AuthError(.secretExists)
        }
        let hash = try await passwords.hash(text, email: user.email, field: "secret")
        let now = services.clock.now()
        let id = Identifier<PasswordHash>(at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        try await services.write(as: subject.actor) { [services] tx in
            guard let stored = try tx.user(user.id) else { throw AuthError(.notFound) }
            guard !stored.isAnonymous else { throw AuthError.guestPassword("type") }
            guard try tx.passwordHash(of: user.id) == nil else { throw AuthError(.secretExists) }
            try tx.insertPassword(hash, of: user.id, id: id, at: now)
            try tx.audit(.passwordSet, by: subject.actor, on: user.id, services)
            try outbox?.notify(
                user,
                of: .signInMethodAdded("a password"),
                in: subject.collection,
                from: subject.client,
                tx
            )
        }
        return try await stored(id.rawValue, of: subject)
    }

    /// An API key; see ``APIKeys/create(_:for:in:by:)``.
    ///
    /// A system user's own key may make others, unless it is narrowed to scopes; they end no later than it. Throws
    /// `reauthentication_required`, `session_required` too.
    func addAPIKey(_ wish: APIKeys.Wish, to subject: Subject) async throws -> APIKeys.New {
        var wish = wish
        if subject.isSelf, let key = subject.principal.apiKey {
            guard subject.user.kind == .system, key.scopes == nil else { throw AuthError(.sessionRequired) }
            wish.expiresAt = [wish.expiresAt, key.expiresAt].compactMap(\.self).min()
        } else {
            try await checkProved(subject)
        }
        return try await apiKeys.create(wish, for: subject.user, in: subject.collection, by: subject.actor)
    }

    /// Throws like ``Devices/trust(_:named:by:from:)``, and `forbidden`, `reauthentication_required`, `session_required`.
    func addDevice(_ text: Secret<String>, named name: String, to subject: Subject) async throws -> UserSecret {
        try checkSelf(subject)
        try await checkProved(subject)
        return try await devices.trust(text, named: name, by: subject.principal, from: subject.client)
    }

    /// Throws like ``SecondFactors/setUp(_:from:)``, and `feature_disabled`, `forbidden`, `reauthentication_required`.
    func addFactor(to subject: Subject) async throws -> SecondFactors.SetUp {
        try checkSelf(subject)
        guard try await services.settings().isOn(Feature.mfa) else { throw AuthError.disabled(.mfa) }
        try await checkProved(subject)
        return try await factors.setUp(subject.principal, from: subject.client)
    }

    /// Confirms a second factor by its first code; the recovery codes are told this once.
    ///
    /// Throws like ``SecondFactors/confirm(_:by:from:)``, and `not_found`, `forbidden`.
    func enroll(_ id: String, _ code: OneTimeCode, of subject: Subject) async throws -> (UserSecret, [RecoveryCode]) {
        try checkSelf(subject)
        guard try await stored(id, of: subject).type == .mfa else { throw AuthError(.notFound) }
        let codes = try await factors.confirm(code, by: subject.principal, from: subject.client)
        return (try await stored(id, of: subject), codes)
    }

    // MARK: Replacing

    /// Replaces one's own password, like ``Passwords/change(of:from:to:from:)``; who has none adds one by
    /// ``addPassword(_:to:)``.
    func replaceOwnPassword(_ current: Secret<String>, by new: Secret<String>, of subject: Subject) async throws
        -> (UserSecret, SignInOutcome)
    {
        let outcome = try await passwords.change(of: subject.principal, from: current, to: new, from: subject.client)
        return (try await password(of: subject), outcome)
    }

    /// Replaces another's password, as an admin.
    func replacePassword(by new: Secret<String>, of subject: Subject) async throws -> UserSecret {
        try await checkProved(subject)
        _ = try await accounts.change(
            subject.user.id,
            in: subject.collection,
            to: try RecordInput([:], for: .change, in: subject.collection),
            .init(password: new),
            by: subject.actor
        )
        return try await password(of: subject)
    }

    /// Throws like ``APIKeys/reassign(of:in:by:)``, and `reauthentication_required`.
    func reassign(_ subject: Subject) async throws -> APIKeys.New {
        // A key in one's own hands can replace itself.
        if subject.principal.apiKey == nil || !subject.isSelf { try await checkProved(subject) }
        return try await apiKeys.reassign(of: subject.user, in: subject.collection, by: subject.actor)
    }

    // MARK: Removing

    /// Removes a secret; what it opened is closed with the next request.
    ///
    /// Throws `not_found`, `last_way_in`, `reauthentication_required` for a second factor, `session_required` for what an
    /// API key may not remove.
    func remove(_ id: String, of subject: Subject) async throws {
        let secret = try await stored(id, of: subject)
        if subject.isSelf, let key = subject.principal.apiKey, key.id != secret.id {
            guard secret.type == .apikey, subject.user.kind == .system, key.scopes == nil else {
                throw AuthError(.sessionRequired)
            }
        }
        if secret.type == .backup || secret.type == .password { try await checkProved(subject) }
        if secret.type == .mfa && !secret.isPending {
            try await checkProved(subject)
            return try await factors.reset(subject.user.id, in: subject.collection, by: subject.actor)
        }
        let now = services.clock.now()
        try await services.write(as: subject.actor) { [services] tx in
            guard let secret = try tx.secret(secret.id, of: subject.user.id) else { throw AuthError(.notFound) }
            guard secret.type != .mfa || secret.isPending else { throw AuthError(.mfaEnabled) }
            if try tx.isLastWayIn(secret) { throw AuthError(.lastWayIn) }
            try tx.removeSecret(secret, at: now)
            let details: AuditDetails = ["type": .string(secret.type.rawValue), "secret": .string(secret.id.rawValue)]
            try tx.audit(.secretRemoved, by: subject.actor, on: subject.user.id, details: details, services)
        }
    }

    // MARK: Rules

    /// A credential that is added to one's own account or to an admin's, or a factor that is removed, needs a fresh proof; an
    /// admin's hand on users' accounts does not.
    private func checkProved(_ subject: Subject) async throws {
        guard subject.isSelf || subject.collection.isAdmins else { return }
        try await reauthentication.check(subject.principal, factor: subject.factor, from: subject.client)
    }

    private func checkSelf(_ subject: Subject) throws {
        guard subject.isSelf else { throw AuthError(.forbidden, "Only the owner of the account can do this.") }
    }

    private func stored(_ id: String, of subject: Subject) async throws -> UserSecret {
        guard let id = SecretID(rawValue: id),
            let secret = try await services.db.read({ tx in try tx.secret(id, of: subject.user.id) })
        else { throw AuthError(.notFound) }
        return secret
    }

    private func password(of subject: Subject) async throws -> UserSecret {
        let secrets = try await services.db.read { tx in try tx.secrets(of: subject.user.id) }
        guard let password = secrets.first(where: { $0.type == .password }) else { throw AuthError(.notFound) }
        return password
    }
}
