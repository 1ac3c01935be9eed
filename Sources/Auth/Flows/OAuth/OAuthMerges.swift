import Storage

/// Linking a provider's account to the user who has its email, once they have shown that they are that user
/// (`oauth2.link_strategy=confirm`).
struct OAuthMerges: Sendable {
    let services: Services
    let sessions: Sessions
    let passwords: Passwords
    let reauthentication: Reauthentication

    /// A token that goes with the user's password, or with their being signed in.
    func ask(_ arrival: OAuthSignIn.Arrival, with user: User) async throws -> OneTimeToken {
        let token = OneTimeToken(random: services.random)
        let merge = PendingLink(arrival.profile, arrival.provider, how: .merge)
        let now = services.clock.now()
        try await services.db.write { [services] tx in
            try arrival.spend(at: now, tx)
            try tx.issueOneTimeToken(token, for: .merge, of: .user(user.id), payload: merge.json.serialized, at: now)
            let details: AuditDetails = ["provider": .string(merge.provider)]
            try tx.audit(
                .mergeRequired,
                by: Actor(id: nil, client: arrival.client),
                on: user.id,
                details: details,
                services
            )
        }
        return token
    }

    /// Links what waits to the user who shows that the account is theirs, by their password or by being signed in.
    ///
    /// Throws `invalid_one_time_token`, `invalid_credentials` for a wrong password, which counts like a failed sign-in and
    /// against the token, `validation_failed` where there is neither, `forbidden` for somebody else's account,
    /// `reauthentication_required`, `session_ended`, `identity_taken`, `provider_already_linked`, `provider_disabled`.
    ///
    /// Where the account's email was never verified, keys, devices, links and sessions go that others may have: what is shown stays
    /// (``Services/linking(_:to:in:from:by:)``).
    func confirm(
        _ text: String,
        password: Secret<String>?,
        by principal: Principal?,
        factor: SecondFactors.Factor?,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish
    ) async throws -> SignInOutcome {
        guard let token = OneTimeToken(parsing: text),
            let holder = try await services.holder(of: token, for: [.merge], in: collection),
            let merge = holder.grant.payload.flatMap(JSON.init(parsing:)).flatMap(PendingLink.init)
        else { throw AuthError(.invalidOneTimeToken) }
        let provider = try OAuthClient.named(merge.provider, try await services.settings())
        guard provider.realm == merge.realm else { throw AuthError(.invalidOneTimeToken) }
        let user = holder.user
        // Who shows the password does that as themselves, whoever else is signed in.
        let principal = password == nil ? principal : nil
        let shown =
            if let password { try await proved(password, of: user, token, from: client) } else {
                try await proved(by: principal, to: user, factor: factor, from: client)
            }
        let now = services.clock.now()
        let actor = principal?.actor(from: client)
        // A session that a device has begun would outlive it.
        let methods = shown.methods.filter { $0 != .federated && $0 != .device } + [.federated]
        let proof = Proof(subject: user.id, methods: methods, at: shown.at, link: merge) { tx in
            guard try shown.redeem(tx) else { return false }
            guard try tx.redeemOneTimeToken(token, for: [.merge], at: now)?.subject == user.id else {
                throw AuthError(.invalidOneTimeToken)
            }
            return true
        }
        return try await sessions.begin(federated: proof, in: collection, from: client, as: wish, by: actor)
    }

    private func proved(
        _ password: Secret<String>,
        of user: User,
        _ token: OneTimeToken,
        from client: Client
    ) async throws -> Proof {
        do {
            return try await passwords.proof(password, of: user, from: client)
        } catch let error as AuthError where error.code == .invalidCredentials {
            try await services.db.write { tx in try tx.countMiss(token) }
            throw error
        }
    }

    private func proved(
        by principal: Principal?,
        to user: User,
        factor: SecondFactors.Factor?,
        from client: Client
    ) async throws -> Proof {
        guard let principal else {
            throw AuthError.validation(["password": "is required, or sign in to the account first"])
        }
        guard principal.user.id == user.id, principal.impersonator == nil else {
            throw AuthError(.forbidden, "This sign-in belongs to somebody else.")
        }
        try await reauthentication.check(principal, factor: factor, from: client)
        let session = try principal.signedInSession()
        return Proof(subject: user.id, methods: session.methods, at: session.provedAt) { _ in true }
    }
}
