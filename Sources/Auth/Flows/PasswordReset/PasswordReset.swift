import Storage

/// Setting a forgotten password by a link that was mailed.
struct PasswordReset: Sendable {
    /// Whose tokens set a password.
    static let purposes: [SingleUsePurpose] = [.reset, .recover]

    let services: Services
    let passwords: Passwords
    let factors: SecondFactors

    /// Mails a link to the account with this email, if there is one.
    ///
    /// The answer and the work are the same when there is none. Throws `mail_not_configured`.
    func request(_ email: EmailAddress, in collection: Collection, from client: Client) async throws {
        try await services.outbox().request(
            .reset,
            as: .passwordResetRequested,
            to: .email(email),
            in: collection,
            by: Actor(id: nil, client: client)
        )
    }

    /// Sets a new password with the token of a reset or a recovery, ends every session, and tells the owner.
    ///
    /// A recovery removes the second factor too, if no recovery code is left.
    ///
    /// Whoever holds the token reads the account's mail, so the email counts as verified, and a lock ends where no second
    /// factor is guessed against it. API keys, devices and links go that were made before the email was verified: they may be a
    /// squatter's. Throws `invalid_one_time_token`, and `validation_failed` for a password that the policy refuses; the token stays good
    /// then.
    func confirm(_ token: String, _ password: Secret<String>, in collection: Collection, from client: Client)
        async throws
    {
        let now = services.clock.now()
        // Looked at before anything is hashed; what counts is the redemption below.
        guard let token = OneTimeToken(parsing: token),
            let holder = try await services.holder(of: token, for: Self.purposes, in: collection)
        else {
            throw AuthError(.invalidOneTimeToken)
        }
        let hash = try await passwords.hash(password, email: holder.user.email)
        let outbox = try await services.outboxIfOn()
        let settings = try await services.settings()
        let secretID = Identifier<PasswordHash>(at: now, random: services.random)
        try await services.db.write { [services] tx in
            guard let grant = try tx.redeemOneTimeToken(token, for: Self.purposes, at: now),
                let user = try tx.activeUser(of: grant, in: collection)
            else { throw AuthError(.invalidOneTimeToken) }
            let isRecovery = grant.purpose == .recover
            try tx.putPassword(hash, of: user.id, id: secretID, at: now)
            try tx.endSessions(of: user.id, because: .passwordChanged, at: now)
            if let email = user.email { try tx.verifyEmail(email, of: user.id, at: now) }
            let account = Lockout.Account(user: user.id, name: nil, collection: collection.id)
            // Codes are guessed against the same lock: who reads the mail must not get more guesses by it.
            if !user.isMFAEnabled {
                try Lockout(services: services, account: account, client: client).forget(in: tx)
            }
            let actor = Actor(id: nil, client: client)
            // Whoever made the account may not be who reads its mail.
            let removed = try tx.removeUnconfirmedCredentials(of: user, at: now)
            if isRecovery, try factors.clearIfSpent(of: user, by: actor, settings, at: now, tx) {
                try outbox?.notify(user, of: .secondFactorRemoved, in: collection, from: client, tx)
            }
            let details: AuditDetails = ["removed": .integer(Int64(removed))]
            let event: AuditEvent = isRecovery ? .accountRecovered : .passwordReset
            try tx.audit(event, by: actor, on: user.id, details: details, services)
            let notice: Notice = isRecovery ? .recoveryUsed : .passwordChanged
            try outbox?.notify(user, of: notice, in: collection, from: client, tx)
        }
    }
}
