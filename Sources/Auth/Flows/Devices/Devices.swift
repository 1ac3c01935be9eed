import Storage

/// Secrets of trusted devices, which sign in with no password and no second factor (seed 003).
struct Devices: Sendable {
    static let countMax = 50

    let services: Services
    let sessions: Sessions

    /// Trusts a device by a secret of its own, from then on; the value is never told again, and the owner is told of it.
    ///
    /// The caller must have proved who they are (``Reauthentication``). Throws `too_many_secrets`, `value_taken` when the
    /// user has this secret already, `validation_failed` for one that could be guessed.
    func trust(_ text: Secret<String>, named name: String, by principal: Principal, from client: Client) async throws
        -> UserSecret
    {
        let user = principal.user
        guard user.kind == .human else {
            throw AuthError.validation(["type": "can't be device: system users act through API keys"])
        }
        if let problem = SuppliedSecret.problem(with: text.reveal(), of: user) {
            throw AuthError.validation(["secret": problem])
        }
        let hash = try await services.hasher.hash(text)
        let outbox = try await services.outboxIfOn()
        let now = services.clock.now()
        let device = UserSecret(
            id: SecretID(at: now, random: services.random),
            userID: user.id,
            type: .device,
            name: name,
            createdAt: now,
            lastUsedAt: nil,
            expiresAt: nil,
            scopes: nil,
            isPrimary: false,
            isPending: false
        )
        let actor = principal.actor(from: client)
        try await services.write(as: actor) { [services] tx in
            try tx.checkPlace(for: .device, of: user.id, max: Self.countMax)
            try tx.insertSecret(device, hash, lookup: lookup(text, of: user.id))
            let details: AuditDetails = ["type": "device", "secret": .string(device.id.rawValue)]
            try tx.audit(.secretCreated, by: actor, on: user.id, details: details, services)
            // Without its name, which whoever has the account writes and somebody else may read.
            let notice = Notice.signInMethodAdded("a trusted device")
            try outbox?.notify(user, of: notice, in: principal.collection, from: client, tx)
        }
        return device
    }

    /// Starts a session by a device's secret.
    ///
    /// The answer and the work are the same for an unknown name and a wrong secret: `invalid_credentials`. Throws
    /// `locked_out`, `overloaded`.
    func signIn(
        _ name: SignInName,
        _ text: Secret<String>,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let user = try await services.db.read { tx in try tx.user(named: name, in: collection.id) }
        let account = Lockout.Account(user: user?.id, name: name, collection: collection.id)
        let lockout = Lockout(services: services, account: account, client: client)
        try await lockout.check()
        let id = user?.id ?? UserID(at: now, random: services.random)
        let device = try await device(text, of: id)
        guard let device else {
            try await lockout.countFailure(of: user?.id)
            throw Self.refusal
        }
        let proof = Proof(subject: id, methods: [.device], at: now, secret: device) { tx in
            try tx.useDevice(device, at: now)
        }
        do {
            return try await sessions.begin(proof, in: collection, lockout: lockout, from: client, as: wish)
        } catch let error as AuthError where error.code == .invalidCredentials {
            throw Self.refusal
        }
    }

    /// One text for every cause.
    private static let refusal = AuthError(.invalidCredentials, "The name or the secret is wrong.")

    private func device(_ text: Secret<String>, of user: UserID) async throws -> SecretID? {
        // No such secret was ever accepted, so nothing is given away by not hashing it.
        guard SuppliedSecret.countRange.contains(text.reveal().utf8.count) else { return nil }
        let lookup = lookup(text, of: user)
        let device = try await services.db.read { tx in try tx.device(lookup: lookup) }
        let isRight = try await services.hasher.matches(text, device?.hash ?? .dummy)
        return isRight ? device?.id : nil
    }

    /// Each user's own: two accounts on one device may have the same secret.
    private func lookup(_ text: Secret<String>, of user: UserID) -> Digest {
        services.sealingKey.digest(of: text.reveal(), place: "device:\(user)")
    }
}
