import Storage

/// Signing in by a code or link that was mailed.
struct OneTimeCodes: Sendable {
    let services: Services
    let sessions: Sessions

    /// Mails a code and a link to the account with this email, if there is one; earlier ones die.
    ///
    /// The answer and the work are the same when there is none. Throws `mail_not_configured`.
    func request(_ email: EmailAddress, in collection: Collection, from client: Client) async throws {
        try await services.outbox().request(
            .otp,
            as: .oneTimeCodeRequested,
            to: .email(email),
            in: collection,
            by: Actor(id: nil, client: client)
        )
    }

    /// Starts a session by the token of the mailed link; the email is verified by it.
    ///
    /// Throws `invalid_one_time_token` for a wrong, spent or expired one and for accounts that may not sign in,
    /// `locked_out`.
    func signIn(token: String, in collection: Collection, from client: Client, as wish: TokenWish = TokenWish())
        async throws -> SignInOutcome
    {
        let now = services.clock.now()
        guard let token = OneTimeToken(parsing: token),
            let user = try await services.holder(of: token, for: [.otp], in: collection)?.user
        else { throw AuthError(.invalidOneTimeToken) }
        let account = Lockout.Account(user: user.id, name: nil, collection: collection.id)
        return try await begin(user.id, account, in: collection, from: client, as: wish) { tx in
            // Nobody guesses a token: one that was good a moment ago was used meanwhile, which is no failed sign-in.
            guard try tx.redeemOneTimeToken(token, for: [.otp], at: now)?.subject == user.id else {
                throw AuthError(.invalidOneTimeToken)
            }
            return true
        }
    }

    /// Starts a session by the mailed code; the email is verified by it.
    ///
    /// A wrong code is counted, by the code's own record and like a wrong password. Throws like ``signIn(token:in:from:as:)``,
    /// for an unknown email too.
    func signIn(
        _ email: EmailAddress,
        code: OneTimeCode,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish = TokenWish()
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let name = SignInName(kind: .email, text: email.text)
        let user = try await services.db.read { tx in try tx.user(named: name, in: collection.id) }
        // An unknown email goes the same way, as somebody who has no code.
        let id = user?.id ?? UserID(at: now, random: services.random)
        let digest = code.digest(.otp, of: .user(id), by: services.sealingKey)
        let account = Lockout.Account(user: user?.id, name: name, collection: collection.id)
        return try await begin(id, account, in: collection, from: client, as: wish) { tx in
            switch try tx.redeemOneTimeCode(digest, for: .otp, of: .user(id), at: now) {
            case .redeemed: true
            case .wrong: false
            // Sent twice by somebody who has it: no failed sign-in.
            case .spent: throw AuthError(.invalidOneTimeToken)
            }
        }
    }

    private func begin(
        _ subject: UserID,
        _ account: Lockout.Account,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish,
        by redeem: @escaping @Sendable (Transaction) throws -> Bool
    ) async throws -> SignInOutcome {
        let now = services.clock.now()
        let outbox = try await services.outboxIfOn()
        let proof = Proof(subject: subject, methods: [.oneTimeCode], at: now) { tx in
            guard try redeem(tx) else { return false }
            guard let user = try tx.user(subject), !user.isEmailVerified, let email = user.email else { return true }
            try tx.verifyEmail(email, of: subject, at: now)
            // Whoever made the account may not have been the owner of the address: what they have under way ends, and the
            // owner learns that there are other ways in.
            try tx.revokeOneTimeTokens(of: subject)
            if try tx.hasCredentials(subject) {
                try outbox?.notify(
                    user,
                    of: .confirmedBySignIn(since: user.createdAt),
                    in: collection,
                    from: client,
                    tx
                )
            }
            return true
        }
        let lockout = Lockout(services: services, account: account, client: client)
        do {
            return try await sessions.begin(proof, in: collection, lockout: lockout, from: client, as: wish)
        } catch let error as AuthError where error.code == .invalidCredentials {
            throw AuthError(.invalidOneTimeToken)
        }
    }
}
