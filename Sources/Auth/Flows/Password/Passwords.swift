import Storage

/// Signing in with a password, and changing it.
struct Passwords: Sendable {
    let services: Services
    let sessions: Sessions
    let factors: SecondFactors

    /// Verifies a name and password and starts a session.
    ///
    /// A second factor may come with the password, where the account has one; it is spent whether or not the password is
    /// right, and the answer doesn't tell which of them was wrong.
    ///
    /// A recovery code works in place of the password, once, with no second factor (seed 003), if
    /// `auth.mfa.backup_login.enabled`.
    ///
    /// The answer, its text and the work are the same for an unknown name, a wrong password, a suspended account and a
    /// system user: `invalid_credentials`. Throws `locked_out` while the account or the address is locked, `overloaded`
    /// when too many hashes wait.
    func signIn(
        _ name: SignInName,
        _ password: Secret<String>,
        _ factor: SecondFactors.Factor? = nil,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish = TokenWish()
    ) async throws -> SignInOutcome {
        let (user, hash) = try await services.db.read { tx in
            let user = try tx.user(named: name, in: collection.id)
            return (user, try user.flatMap { try tx.passwordHash(of: $0.id) })
        }
        let lockout = Lockout(
            services: services,
            account: .init(user: user?.id, name: name, collection: collection.id),
            client: client
        )
        try await lockout.check()
        let isRight = try await verify(password, against: hash)
        // One way and one answer for everybody but who needs no factor and has the right password.
        if let factor, !isRight || user?.isMFAEnabled != false {
            let first = isRight ? hash : nil
            let proof = try await bothFactors(of: user?.id, first, factor)
            return try await beginWithBoth(proof, in: collection, lockout: lockout, from: client, as: wish)
        }
        guard isRight, let user, let hash else {
            if let proof = try await factors.backupProof(password, of: user, from: client, in: collection) {
                return try await sessions.begin(proof, in: collection, lockout: lockout, from: client, as: wish)
            }
            try await lockout.countFailure(of: user?.id)
            throw AuthError(.invalidCredentials)
        }
        let current = services.hasher.isOutdated(hash) ? try await rehash(password, of: user.id, from: hash) : hash
        let proof = proof(of: user.id, by: [.password], with: current)
        return try await sessions.begin(proof, in: collection, lockout: lockout, from: client, as: wish)
    }

    /// A proof by password and second factor; `hash` is nil when the password was wrong or nobody's.
    private func bothFactors(of user: UserID?, _ hash: PasswordHash?, _ factor: SecondFactors.Factor) async throws
        -> Proof
    {
        let now = services.clock.now()
        let id = user ?? UserID(at: now, random: services.random)
        let attempt = try await factors.attempt(factor, of: id)
        let methods = [Proof.Method.password].adding(factor.method, isSecond: true)
        return Proof(subject: id, methods: methods, at: now) { tx in
            let isFactorRight = try attempt(tx)
            guard let hash else { return false }
            return try isFactorRight && tx.passwordHash(of: id)?.rawValue == hash.rawValue
        }
    }

    private func beginWithBoth(
        _ proof: Proof,
        in collection: Collection,
        lockout: Lockout,
        from client: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        do {
            return try await sessions.begin(proof, in: collection, lockout: lockout, from: client, as: wish)
        } catch let error as AuthError where error.code == .invalidCredentials {
            throw AuthError(.invalidCredentials, "The name, the password or the code is wrong.")
        }
    }

    /// Replaces the caller's password, ends every session of theirs (the one that asks too: whoever stole its token is
    /// out), and starts a new one in the place of that, by a token of the same type.
    ///
    /// Throws `session_required`, and `invalid_credentials` for a wrong current password, which it counts like a failed
    /// sign-in.
    func change(
        of principal: Principal,
        from current: Secret<String>,
        to new: Secret<String>,
        from client: Client
    ) async throws -> SignInOutcome {
        guard case .token(let type, let session, _) = principal.credential else { throw AuthError(.sessionRequired) }
        let user = principal.user
        let refusal = "The current password is wrong."
        let (hash, lockout) = try await proved(current, of: user, by: principal.actor(from: client), refusal)
        let hashed = try await self.hash(new, email: user.email)
        let now = services.clock.now()
        let id = Identifier<PasswordHash>(at: now, random: services.random)
        // A device was trusted by the former password.
        let methods = session.methods.filter { $0 != .device }.adding(.password, isSecond: false)
        // The second factor was not shown now: with it, the new session is no fresher than the former one.
        let provedAt = user.isMFAEnabled && methods.contains(.multiFactor) ? session.provedAt : now
        let proof = proof(of: user.id, by: methods, with: hashed, at: provedAt)
        let outbox = try await services.outboxIfOn()
        return try await sessions.begin(
            proof,
            in: principal.collection,
            lockout: lockout,
            from: client,
            as: TokenWish(type: type, notValidAfter: session.notValidAfter),
            by: principal.actor(from: client),
            insteadOf: session
        ) { [services] tx in
            // Of two changes at once, the second proved a password that is no longer the user's.
            guard try tx.passwordHash(of: user.id)?.rawValue == hash?.rawValue else {
                throw AuthError(.invalidCredentials, "The current password is wrong.")
            }
            try tx.putPassword(hashed, of: user.id, id: id, at: now)
            try tx.endSessions(of: user.id, because: .passwordChanged, at: now)
            try tx.audit(.passwordChanged, by: principal.actor(from: client), on: user.id, services)
            try outbox?.notify(user, of: .passwordChanged, in: principal.collection, from: client, tx)
        }
    }

    /// Verifies the caller's password; a wrong one is counted like a failed sign-in.
    ///
    /// Throws `invalid_credentials`, `locked_out`.
    func prove(_ password: Secret<String>, by principal: Principal, from client: Client) async throws {
        _ = try await proved(password, of: principal.user, by: principal.actor(from: client))
    }

    /// The proof of a user who shows their password, for a flow that knows by other means whom it is about.
    ///
    /// Throws `invalid_credentials`, `locked_out`.
    func proof(_ password: Secret<String>, of user: User, from client: Client) async throws -> Proof {
        let (hash, _) = try await proved(password, of: user, by: Actor(id: nil, client: client))
        guard let hash else { throw AuthError(.invalidCredentials) }
        return proof(of: user.id, by: [.password], with: hash)
    }

    private func proved(
        _ password: Secret<String>,
        of user: User,
        by actor: Actor,
        _ refusal: String = "The password is wrong."
    ) async throws -> (PasswordHash?, Lockout) {
        let hash = try await services.db.read { tx in try tx.passwordHash(of: user.id) }
        let account = Lockout.Account(user: user.id, name: nil, collection: user.collectionID)
        let lockout = Lockout(services: services, account: account, client: actor.client, actor: actor)
        try await lockout.check()
        guard try await verify(password, against: hash) else {
            try await lockout.countFailure(of: user.id)
            throw AuthError(.invalidCredentials, refusal)
        }
        // Of guesses in parallel, a right one behind too many wrong ones must not be told from them.
        try await lockout.check()
        return (hash, lockout)
    }

    /// The hash of a new password.
    ///
    /// Throws `validation_failed` when the policy refuses it.
    func hash(_ password: Secret<String>, email: String?, field: String = "password") async throws -> PasswordHash {
        let policy = PasswordPolicy(try await services.settings())
        if let problem = policy.problem(with: password.reveal(), email: email) {
            throw AuthError.validation([field: problem])
        }
        return try await services.hasher.hash(password)
    }

    /// Verifies against a dummy when there is no hash: the same work for known and unknown.
    private func verify(_ password: Secret<String>, against hash: PasswordHash?) async throws -> Bool {
        // No such password was ever accepted, so nothing is given away by not hashing it.
        guard password.reveal().utf8.count <= PasswordPolicy.countMax * 4 else { return false }
        let matches = try await services.hasher.matches(password, hash ?? .dummy)
        return matches && hash != nil
    }

    /// Holds as long as the user's password is the one that was verified.
    private func proof(
        of user: UserID,
        by methods: [Proof.Method],
        with hash: PasswordHash,
        at time: Timestamp? = nil
    ) -> Proof {
        Proof(subject: user, methods: methods, at: time ?? services.clock.now()) { tx in
            try tx.passwordHash(of: user)?.rawValue == hash.rawValue
        }
    }

    private func rehash(
        _ password: Secret<String>,
        of user: UserID,
        from old: PasswordHash
    ) async throws -> PasswordHash {
        let new = try await services.hasher.hash(password)
        let isRenewed = try await services.db.write { tx in try tx.rehashPassword(of: user, from: old, to: new) }
        if isRenewed { return new }
        // Another sign-in renewed it first, which is fine, or the password was changed, which is not.
        let stored = try await services.db.read { tx in try tx.passwordHash(of: user) }
        guard let stored, try await verify(password, against: stored) else { throw AuthError(.invalidCredentials) }
        return stored
    }
}
