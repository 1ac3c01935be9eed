import Storage

/// The providers of a user who is signed in: connected, listed, unlinked.
struct OAuthLinks: Sendable {
    let services: Services
    let oauth: OAuth
    let reauthentication: Reauthentication

    /// Where to send the browser to link a provider to the caller's account; only ``connect(_:by:factor:from:)`` takes what comes
    /// of it, from the same user.
    ///
    /// Throws like ``OAuth/authorize(_:in:for:)``.
    func authorize(_ wish: OAuth.Wish, by principal: Principal) async throws -> OAuth.Authorization {
        _ = try principal.signedInSession()
        return try await oauth.authorize(wish, in: principal.collection, for: principal.user.id)
    }

    /// Links the provider's account that the caller has signed in to; the owner is told.
    ///
    /// Throws like ``OAuth/profile(of:to:in:)`` and ``Reauthentication/check(_:factor:from:)``, `identity_taken`,
    /// `provider_already_linked`.
    func connect(
        _ back: OAuth.Return,
        by principal: Principal,
        factor: SecondFactors.Factor?,
        from client: Client
    ) async throws {
        try await reauthentication.check(principal, factor: factor, from: client)
        let (user, collection) = (principal.user, principal.collection)
        let (profile, provider, _) = try await oauth.profile(of: back, to: .connect(user.id), in: collection)
        let actor = principal.actor(from: client)
        let link = PendingLink(profile, provider, how: .connect)
        let links = try await services.linking(link, to: user.id, in: collection, from: client, by: actor)
        try await services.write(as: actor) { tx in _ = try links(tx, user) }
    }

    /// Oldest first.
    func list(of principal: Principal, page: Paging) async throws -> PageOf<Identity> {
        try part(page, of: try await services.db.read { tx in try tx.identities(of: principal.user.id) })
    }

    /// A user's, for an admin; oldest first.
    ///
    /// Throws `not_found`.
    func list(of user: UserID, in collection: Collection, page: Paging) async throws -> PageOf<Identity> {
        let links = try await services.db.read { tx in
            guard try tx.user(user, in: collection.id) != nil else { throw AuthError(.notFound) }
            return try tx.identities(of: user)
        }
        return try part(page, of: links)
    }

    private func part(_ page: Paging, of links: [Identity]) throws -> PageOf<Identity> {
        try services.page(page, of: links, named: "links") { link in
            [.integer(link.createdAt.milliseconds), .text(link.id.rawValue)]
        }
    }

    /// Removes the caller's own link; their other sessions that were begun by a provider end.
    ///
    /// Throws `not_found`, `last_way_in` when there is no password and no other link, `session_required`.
    func unlink(_ provider: String, by principal: Principal, from client: Client) async throws {
        let session = try principal.signedInSession()
        let user = principal.user.id
        let actor = principal.actor(from: client)
        try await services.write(as: actor) { tx in
            try remove(provider, of: user, except: session.id, by: actor, tx)
            if try tx.passwordHash(of: user) == nil, try tx.countIdentities(of: user) == 0 {
                throw AuthError(.lastWayIn)
            }
        }
    }

    /// Removes a user's link, for an admin, even if it is the last way in; the sessions that were begun by a provider end.
    ///
    /// Throws `not_found`.
    func unlink(_ provider: String, of user: UserID, in collection: Collection, by actor: Actor) async throws {
        try await services.write(as: actor) { tx in
            guard try tx.user(user, in: collection.id) != nil else { throw AuthError(.notFound) }
            try remove(provider, of: user, except: actor.session, by: actor, tx)
        }
    }

    private func remove(
        _ provider: String,
        of user: UserID,
        except session: SessionID?,
        by actor: Actor,
        _ tx: Transaction
    ) throws {
        let now = services.clock.now()
        let removed = try tx.removeIdentities(provider, of: user)
        guard !removed.isEmpty else {
            throw AuthError(.notFound, "This provider is not linked to the account.")
        }
        for other in try tx.liveSessions(of: user, at: now)
        where other.id != session && other.methods.contains(.federated) {
            _ = try tx.endSession(other.id, of: user, because: .revoked, at: now)
        }
        for identity in removed {
            let details: AuditDetails = ["provider": .string(identity.provider), "subject": .string(identity.subject)]
            try tx.audit(.identityUnlinked, by: actor, on: user, details: details, services)
        }
    }
}

extension PendingLink {
    init(_ profile: OAuthProfile, _ client: OAuthClient, how: How) {
        self.init(
            provider: client.provider.name,
            displayName: client.provider.displayName,
            realm: client.realm,
            subject: profile.subject,
            email: profile.email?.text,
            how: how
        )
    }
}
