import Storage

/// Showing that an email is one's own.
struct EmailVerification: Sendable {
    let services: Services

    /// Mails the caller a link; false when their email is verified already.
    ///
    /// Throws `mail_not_configured`, `forbidden` for accounts that get no mail.
    func request(_ principal: Principal, from client: Client) async throws -> Bool {
        let user = principal.user
        guard !user.isEmailVerified else { return false }
        guard user.addressee() != nil else { throw AuthError(.forbidden, "This account has no email address.") }
        try await services.outbox().request(
            .verify,
            as: .emailVerificationRequested,
            to: .id(user.id),
            in: principal.collection,
            by: principal.actor(from: client)
        )
        return true
    }

    /// Marks the email that the token was mailed to as its user's own.
    ///
    /// Throws `invalid_one_time_token`.
    func verify(_ token: String, in collection: Collection, from client: Client) async throws {
        guard let token = OneTimeToken(parsing: token) else { throw AuthError(.invalidOneTimeToken) }
        let now = services.clock.now()
        try await services.db.write { [services] tx in
            // A change of the email has revoked the token, so the one that is stored is the one that was mailed.
            guard let grant = try tx.redeemOneTimeToken(token, for: [.verify], at: now),
                let user = try tx.activeUser(of: grant, in: collection), let email = user.email,
                try tx.verifyEmail(email, of: user.id, at: now)
            else { throw AuthError(.invalidOneTimeToken) }
            try tx.audit(.emailVerified, by: Actor(id: nil, client: client), on: user.id, services)
        }
    }
}
