import Storage

/// Moving an account to another email: asked for by its owner, confirmed from the new address.
struct EmailChange: Sendable {
    let services: Services

    /// Takes the new email into use, which is verified by it, and tells the old one.
    ///
    /// What was outstanding under the old email dies. Throws `invalid_one_time_token`, `email_taken` when somebody else
    /// has it by now.
    func confirm(_ token: String, in collection: Collection, from client: Client) async throws -> String {
        guard let token = OneTimeToken(parsing: token) else { throw AuthError(.invalidOneTimeToken) }
        let now = services.clock.now()
        let outbox = try await services.outboxIfOn()
        return try await services.db.write { [services] tx in
            guard let grant = try tx.redeemOneTimeToken(token, for: [.emailChange], at: now), let email = grant.payload,
                let user = try tx.activeUser(of: grant, in: collection)
            else { throw AuthError(.invalidOneTimeToken) }
            try tx.putConfirmedEmail(email, of: user.id, at: now)
            try tx.revokeOneTimeTokens(of: user.id)
            try tx.audit(.emailChanged, by: Actor(id: nil, client: client), on: user.id, services)
            try outbox?.notify(user, of: .emailChanged(to: email), in: collection, from: client, tx)
            return email
        }
    }
}

extension Outbox {
    /// Asks the new address to confirm a change, and tells the old one.
    ///
    /// `isTaken`: somebody else has the address, which the asker is not to learn; then nobody is asked, and all else is the
    /// same. Throws `rate_limited` after ``floodMax`` changes in ``floodSeconds``.
    func askToConfirm(
        _ email: EmailAddress,
        of user: User,
        isTaken: Bool,
        in collection: Collection,
        from client: Client,
        _ tx: Transaction
    ) throws {
        guard try !isFlooded(user.id, by: .emailChange, tx) else {
            throw AuthError(
                .rateLimited,
                "Too many changes of the email. Wait an hour.",
                retryAfterSeconds: Self.floodSeconds
            )
        }
        try tx.putPendingEmail(email, of: user.id)
        try mailToken(
            .emailChange,
            to: isTaken ? nil : user.addressee(at: email.text),
            insteadOf: user.id,
            in: collection,
            payload: email.text,
            tx
        )
        try notify(user, of: .emailChangeRequested(to: email.text), in: collection, from: client, tx)
    }
}
