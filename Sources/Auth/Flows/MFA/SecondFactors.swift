import Storage

/// The second factor of an account: set up, confirmed by its first code, used at sign-in, removed.
struct SecondFactors: Sendable {
    let services: Services
    let sessions: Sessions

    /// A key that was not confirmed by then is dead.
    static let pendingSeconds: Int64 = 3600

    /// What an authenticator needs.
    struct SetUp: Sendable {
        let id: SecretID
        let secret: Secret<String>
        let url: Secret<String>
        let picture: Secret<String>
    }

    /// A new key for the caller, which counts once ``confirm(_:by:from:)`` has seen a code of it; an earlier one that was
    /// never confirmed dies.
    ///
    /// Throws `mfa_enabled` when there is one that counts, `session_required`.
    func setUp(_ principal: Principal, from client: Client) async throws -> SetUp {
        _ = try principal.signedInSession()
        let user = principal.user
        let totp = TOTP(random: services.random)
        let now = services.clock.now()
        let place = StoredTOTP.place(user.id)
        let sealed = try services.sealingKey.seal(totp.secret.reveal(), place: place, random: services.random)
        let id = SecretID(at: now, random: services.random)
        try await services.write(as: principal.actor(from: client)) { [services] tx in
            guard try tx.putPendingTOTP(sealed, of: user.id, id: id, at: now) else { throw AuthError(.mfaEnabled) }
            try tx.audit(.mfaSetUp, by: principal.actor(from: client), on: user.id, services)
        }
        let url = totp.url(account: user.email ?? user.username ?? user.id.rawValue, issuer: try await issuer())
        guard let picture = QRCode.svg(of: url) else { throw AuthError(.unexpected) }
        return SetUp(id: id, secret: totp.secret, url: Secret(url), picture: Secret(picture))
    }

    /// Turns the second factor on by its first code, and gives the recovery codes, this once; the user's other sessions end,
    /// since they were begun without it.
    ///
    /// Throws `mfa_not_set_up`, `mfa_enabled`, `invalid_credentials` for a wrong code, `locked_out`, `session_required`.
    func confirm(_ code: OneTimeCode, by principal: Principal, from client: Client) async throws -> [RecoveryCode] {
        let session = try principal.signedInSession()
        let user = principal.user
        let stored = try await services.db.read { tx in try tx.totp(of: user.id) }
        let now = services.clock.now()
        guard let stored, stored.isActive || now.seconds(since: stored.createdAt) < Self.pendingSeconds else {
            throw AuthError(.mfaNotSetUp)
        }
        guard !stored.isActive else { throw AuthError(.mfaEnabled) }
        let lockout = lockout(user, from: client, by: principal.actor(from: client))
        try await lockout.check()
        guard let step = try totp(stored, of: user.id).step(of: code, at: now) else {
            try await lockout.countFailure(of: user.id)
            throw AuthError(.invalidCredentials, Self.wrongCode)
        }
        let codes = try await newRecoveryCodes(of: user.id)
        let outbox = try await services.outboxIfOn()
        let settings = try await services.settings()
        let methods = session.methods.adding(.oneTimeCode, isSecond: true)
        try await services.write(as: principal.actor(from: client)) { [services] tx in
            try lockout.check(in: tx, settings)
            guard try tx.acceptStep(step, of: user.id, with: stored, at: now) else { throw AuthError(.mfaNotSetUp) }
            try tx.putMFA(true, of: user.id, at: now)
            try tx.replaceRecoveryCodes(codes.map { ($0.stored, $0.bucket) }, of: user.id, at: now)
            try tx.strengthenSession(session.id, to: methods, at: now)
            try tx.endSessions(of: user.id, except: session.id, because: .revoked, at: now)
            try tx.audit(.mfaEnabled, by: principal.actor(from: client), on: user.id, services)
            let notice = Notice.signInMethodAdded("an authenticator app, asked for after the password")
            try outbox?.notify(user, of: notice, in: principal.collection, from: client, tx)
        }
        return codes.map(\.code)
    }

    /// Turns the second factor off, recovery codes and all.
    ///
    /// Throws `mfa_not_set_up`, `invalid_credentials` for a wrong code, `locked_out`, `session_required`.
    func disable(_ factor: Factor, by principal: Principal, from client: Client) async throws {
        let user = principal.user
        let now = services.clock.now()
        let outbox = try await services.outboxIfOn()
        try await prove(factor, by: principal, from: client) { [services] tx in
            _ = try tx.removeMFA(of: user.id, at: now)
            let details: AuditDetails = ["method": .string(factor.method.rawValue)]
            try tx.audit(.mfaDisabled, by: principal.actor(from: client), on: user.id, details: details, services)
            try outbox?.notify(user, of: .secondFactorRemoved, in: principal.collection, from: client, tx)
        }
    }

    /// New recovery codes, this once; the former ones die, and the owner is told.
    ///
    /// Without a factor the session must be fresh (``Principal/isFresh(at:)``). Throws `mfa_not_set_up`,
    /// `validation_failed`, `invalid_credentials` for a wrong code, `locked_out`, `session_required`.
    func regenerateCodes(_ factor: Factor?, by principal: Principal, from client: Client) async throws -> [RecoveryCode]
    {
        let user = principal.user
        _ = try principal.signedInSession()
        guard user.isMFAEnabled else { throw AuthError(.mfaNotSetUp) }
        let now = services.clock.now()
        if let factor {
            // First, since ten hashes are much work for somebody who guesses.
            try await prove(factor, by: principal, from: client) { _ in }
        } else if !principal.isFresh(at: now) {
            throw AuthError.validation(["code": "is required"])
        }
        let codes = try await newRecoveryCodes(of: user.id)
        let outbox = try await services.outboxIfOn()
        let details: AuditDetails = ["method": .optional(factor?.method.rawValue)]
        try await services.write(as: principal.actor(from: client)) { [services] tx in
            // It may have been disabled while the codes were hashed.
            guard try tx.totp(of: user.id)?.isActive == true else { throw AuthError(.mfaNotSetUp) }
            try tx.replaceRecoveryCodes(codes.map { ($0.stored, $0.bucket) }, of: user.id, at: now)
            let actor = principal.actor(from: client)
            try tx.audit(.recoveryCodesRegenerated, by: actor, on: user.id, details: details, services)
            try outbox?.notify(user, of: .recoveryCodesReplaced, in: principal.collection, from: client, tx)
        }
        return codes.map(\.code)
    }

    func countCodes(of principal: Principal) async throws -> (total: Int, unused: Int) {
        try await services.db.read { tx in try tx.countRecoveryCodes(of: principal.user.id) }
    }

    /// Removes a user's second factor, for an admin or the command line, or for its owner who has proved to be that.
    ///
    /// Throws `not_found`.
    func reset(_ id: UserID, in collection: Collection, by actor: Actor) async throws {
        let now = services.clock.now()
        let outbox = try await services.outboxIfOn()
        try await services.write(as: actor) { [services] tx in
            guard let user = try tx.user(id, in: collection.id) else { throw AuthError(.notFound) }
            guard try tx.removeMFA(of: id, at: now) else { return }
            try tx.audit(actor.id == id ? .mfaDisabled : .mfaReset, by: actor, on: id, services)
            try outbox?.notify(user, of: .secondFactorRemoved, in: collection, from: actor.client, tx)
        }
    }

    // MARK: Signing in

    /// Ends a sign-in that ``Sessions/begin(_:in:lockout:from:as:by:insteadOf:with:)`` has answered with a ticket.
    ///
    /// Throws `invalid_one_time_token` for a ticket that is wrong, used, five minutes old or has seen five wrong codes,
    /// `invalid_credentials` for a wrong code, `locked_out`, and like ``Sessions/begin(_:in:lockout:from:as:by:insteadOf:with:)``.
    func signIn(_ ticket: String, _ factor: Factor, in collection: Collection, from client: Client) async throws
        -> SignInOutcome
    {
        guard let ticket = OneTimeToken(parsing: ticket),
            let holder = try await services.holder(of: ticket, for: [.secondFactor], in: collection),
            let first = FirstFactor(holder.grant.payload)
        else { throw AuthError(.invalidOneTimeToken) }
        let user = holder.user
        let now = services.clock.now()
        guard first.wish.notValidAfter.map({ $0 > now }) != false else { throw AuthError(.invalidOneTimeToken) }
        let lockout = lockout(user, from: client)
        try await lockout.check()
        let attempt = try await attempt(factor, of: user.id)
        let outbox = try await services.outboxIfOn()
        let methods = first.methods.adding(factor.method, isSecond: true)
        let proof = Proof(subject: user.id, methods: methods, at: now, link: first.link) { tx in
            guard try tx.liveOneTimeToken(ticket, for: [.secondFactor], at: now) != nil else {
                throw AuthError(.invalidOneTimeToken)
            }
            guard try attempt(tx) else {
                try tx.countMiss(ticket)
                return false
            }
            if factor.method == .recoveryCode {
                try outbox?.notify(user, of: .recoveryCodeUsed, in: collection, from: client, tx)
            }
            return try tx.redeemOneTimeToken(ticket, for: [.secondFactor], at: now) != nil
        }
        do {
            return try await sessions.begin(
                proof,
                in: collection,
                lockout: lockout,
                from: client,
                as: first.wish
            )
        } catch let error as AuthError where error.code == .invalidCredentials {
            throw AuthError(.invalidCredentials, Self.wrongCode)
        }
    }

    // MARK: Factors

    /// What somebody has beside the password.
    enum Factor: Sendable {
        case code(OneTimeCode)
        case recoveryCode(RecoveryCode)
        /// What can't be either; it fails like a wrong one.
        case unreadable

        var method: Proof.Method {
            if case .recoveryCode = self { .recoveryCode } else { .oneTimeCode }
        }
    }

    private static let wrongCode = "The code is wrong, or was used before."

    /// Spends the caller's factor, and runs `change` with it; a wrong one is counted like a wrong password.
    ///
    /// Throws `mfa_not_set_up`, `invalid_credentials`, `locked_out`.
    func spend(
        _ factor: Factor,
        by principal: Principal,
        from client: Client,
        _ change: @escaping @Sendable (Transaction) throws -> Void
    ) async throws {
        try await prove(factor, by: principal, from: client, change)
    }

    /// The recovery code of somebody, in place of a password; nil where the setting or the text doesn't allow for it.
    ///
    /// The work is the same for an unknown user, and one without codes.
    func backupProof(_ text: Secret<String>, of user: User?, from client: Client, in collection: Collection)
        async throws
        -> Proof?
    {
        guard try await services.settings().isOn("auth.mfa.backup_login.enabled"),
            let code = RecoveryCode(parsing: text.reveal())
        else { return nil }
        let now = services.clock.now()
        let id = user?.id ?? UserID(at: now, random: services.random)
        let attempt = try await attempt(.recoveryCode(code), of: id)
        let outbox = try await services.outboxIfOn()
        return Proof(subject: id, methods: [.recoveryCode], at: now) { tx in
            guard try attempt(tx), try tx.totp(of: id)?.isActive == true else { return false }
            if let user { try outbox?.notify(user, of: .recoveryCodeUsed, in: collection, from: client, tx) }
            return true
        }
    }

    /// Removes the second factor of somebody who got back in by mail, if no recovery code is left (seed 003), unless the
    /// setting `auth.recovery.clears_mfa` forbids it.
    ///
    /// Tells whether it has.
    func clearIfSpent(of user: User, by actor: Actor, _ settings: Settings, at now: Timestamp, _ tx: Transaction) throws
        -> Bool
    {
        guard user.isMFAEnabled, settings.text("auth.recovery.clears_mfa") == "when_codes_spent" else { return false }
        let codes = try tx.countRecoveryCodes(of: user.id)
        // Spent, not removed.
        guard codes.total > 0, codes.unused == 0 else { return false }
        _ = try tx.removeMFA(of: user.id, at: now)
        try tx.audit(.mfaReset, by: actor, on: user.id, services)
        return true
    }

    /// Spends a factor and runs `change` with it, in one transaction; a wrong one is counted like a wrong password.
    private func prove(
        _ factor: Factor,
        by principal: Principal,
        from client: Client,
        _ change: @escaping @Sendable (Transaction) throws -> Void
    ) async throws {
        let user = principal.user
        _ = try principal.signedInSession()
        guard user.isMFAEnabled else { throw AuthError(.mfaNotSetUp) }
        let lockout = lockout(user, from: client, by: principal.actor(from: client))
        // Before anything is hashed.
        try await lockout.check()
        let attempt = try await attempt(factor, of: user.id)
        let settings = try await services.settings()
        let isRight = try await services.write(as: principal.actor(from: client)) { tx in
            try lockout.check(in: tx, settings)
            guard try attempt(tx) else {
                try lockout.countFailure(of: user.id, details: [:], in: tx, settings)
                return false
            }
            try change(tx)
            return true
        }
        guard isRight else { throw AuthError(.invalidCredentials, Self.wrongCode) }
    }

    /// Does the slow part of checking a factor; what it gives spends the factor in a transaction, and tells whether it
    /// counts.
    func attempt(_ factor: Factor, of user: UserID) async throws -> @Sendable (Transaction) throws -> Bool {
        let now = services.clock.now()
        switch factor {
        case .unreadable: return { _ in false }
        case .code(let code):
            let stored = try await services.db.read { tx in try tx.totp(of: user) }
            guard let stored, stored.isActive, let step = try totp(stored, of: user).step(of: code, at: now) else {
                return { _ in false }
            }
            return { tx in try tx.acceptStep(step, of: user, with: stored, at: now) }
        case .recoveryCode(let code):
            let bucket = code.bucket(of: user, by: services.sealingKey)
            let stored = try await services.db.read { tx in try tx.recoveryCodes(of: user, bucket: bucket) }
            // One hash at least: the time doesn't tell which buckets hold a code.
            if stored.isEmpty { _ = try await services.hasher.matches(code.text, .dummy) }
            for candidate in stored where try await services.hasher.matches(code.text, candidate.hash) {
                return { tx in try tx.useRecoveryCode(candidate.id, at: now) }
            }
            return { _ in false }
        }
    }

    private func totp(_ stored: StoredTOTP, of user: UserID) throws -> TOTP {
        let secret = services.sealingKey.open(stored.sealed, place: StoredTOTP.place(user))
        guard let secret, let totp = TOTP(secret: secret.reveal()) else {
            throw AuthError(.unexpected, cause: DatabaseError.unreadable("sealed"))
        }
        return totp
    }

    private struct NewCode: Sendable {
        let code: RecoveryCode
        let stored: StoredRecoveryCode
        let bucket: Int
    }

    private func newRecoveryCodes(of user: UserID) async throws -> [NewCode] {
        let now = services.clock.now()
        var codes: [NewCode] = []
        for _ in 0..<RecoveryCode.count {
            let code = RecoveryCode(random: services.random)
            let id = Identifier<RecoveryCode>(at: now, random: services.random)
            let stored = StoredRecoveryCode(id: id, hash: try await services.hasher.hash(code.text))
            codes.append(NewCode(code: code, stored: stored, bucket: code.bucket(of: user, by: services.sealingKey)))
        }
        return codes
    }

    private func lockout(_ user: User, from client: Client, by actor: Actor? = nil) -> Lockout {
        let account = Lockout.Account(user: user.id, name: nil, collection: user.collectionID)
        return Lockout(services: services, account: account, client: client, actor: actor)
    }

    private func issuer() async throws -> String {
        let url = try await services.settings().text("app.url")
        return url.urlHost ?? "Latchkey"
    }
}

/// What was proved before a second factor was asked for, and what is to come of it, as its ticket keeps it.
struct FirstFactor: Sendable {
    let methods: [Proof.Method]
    let wish: TokenWish
    let link: PendingLink?

    init(_ proof: Proof, _ wish: TokenWish) {
        methods = proof.methods
        link = proof.link
        self.wish = wish
    }

    /// Nil for what ``payload`` has not made.
    init?(_ payload: String?) {
        guard let payload, let json = JSON(stored: payload), case .array(let names)? = json["methods"],
            let type = json["type"]?.text.flatMap(TokenType.init)
        else { return nil }
        let methods = names.map { $0.text.flatMap(Proof.Method.init) }
        guard !methods.isEmpty, !methods.contains(nil) else { return nil }
        self.methods = methods.compactMap(\.self)
        var end: Timestamp?
        if case .integer(let milliseconds)? = json["not_valid_after"] { end = Timestamp(milliseconds: milliseconds) }
        wish = TokenWish(type: type, notValidAfter: end)
        link = PendingLink(json["link"])
    }

    var payload: String {
        let json: JSON = [
            "methods": .array(methods.map { .string($0.rawValue) }), "type": .string(wish.type.rawValue),
            "not_valid_after": wish.notValidAfter.map { .integer($0.milliseconds) } ?? .null,
            "link": link?.json ?? .null,
        ]
        return json.serialized
    }
}

extension [Proof.Method] {
    /// With a method that was shown since, which makes it more than one factor if it is the second.
    func adding(_ method: Proof.Method, isSecond: Bool) -> [Proof.Method] {
        (self + [method] + (isSecond ? [.multiFactor] : [])).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
}
