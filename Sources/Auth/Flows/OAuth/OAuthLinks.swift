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
        let now = services.clock.now()
        let link = PendingLink(profile, provider, how: .connect)
        let identity = link.identity(of: user.id, in: collection, at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        let actor = principal.actor(from: client)
        try await services.write(as: actor) { [services] tx in
            guard try tx.linkIfMissing(identity, how: link.how, by: actor, services) else { return }
            let notice = Notice.signInMethodAdded(link.displayName)
            try outbox?.notify(user, of: notice, in: collection, from: client, tx)
        }
    }

    /// Oldest first.
    func list(of principal: Principal) async throws -> [Identity] {
        try await services.db.read { tx in try tx.identities(of: principal.user.id) }
    }

    /// A user's, for an admin; oldest first.
    ///
    /// Throws `not_found`.
    func list(of user: UserID, in collection: Collection) async throws -> [Identity] {
        try await services.db.read { tx in
            guard try tx.user(user, in: collection.id) != nil else { throw AuthError(.notFound) }
            return try tx.identities(of: user)
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
            let details: JSON = ["provider": .string(identity.provider), "subject": .string(identity.subject)]
            try tx.audit(.identityUnlinked, by: actor, on: user, details: details, services)
        }
    }
}

extension Sessions {
    /// What links the proof's account at a provider to its subject, and tells them.
    func linking(_ proof: Proof, in collection: Collection, from client: Client, by actor: Actor?) async throws
        -> @Sendable (Transaction, User) throws -> Void
    {
        guard let link = proof.link else { return { _, _ in } }
        let now = services.clock.now()
        let identity = link.identity(of: proof.subject, in: collection, at: now, random: services.random)
        let outbox = try await services.outboxIfOn()
        return { [services] tx, user in
            // Since the ticket for a second factor was given, it may have been linked.
            let actor = actor ?? Actor(id: user.id, client: client)
            let isNew = try tx.linkIfMissing(identity, how: link.how, by: actor, services)
            // Of a claim they are told more.
            guard isNew, link.how != .claim else { return }
            let notice = Notice.signInMethodAdded(link.displayName)
            try outbox?.notify(user, of: notice, in: collection, from: client, tx)
        }
    }
}

extension Transaction {
    /// Links what may be the user's already; tells whether it wasn't.
    ///
    /// Throws like ``link(_:how:by:_:)``.
    func linkIfMissing(_ identity: Identity, how: PendingLink.How, by actor: Actor, _ services: Services) throws -> Bool
    {
        let collection = identity.collectionID
        guard let known = try self.identity(identity.provider, identity.realm, identity.subject, in: collection) else {
            try link(identity, how: how, by: actor, services)
            return true
        }
        guard known.userID == identity.userID else { throw AuthError(.identityTaken) }
        return false
    }

    /// Links what belongs to nobody yet to a user.
    ///
    /// Throws `identity_taken` when it is somebody's, `provider_already_linked` when the user has another of the provider.
    func link(_ identity: Identity, how: PendingLink.How, by actor: Actor, _ services: Services) throws {
        do {
            try insertIdentity(identity)
        } catch DatabaseError.unique("identities_user_id_provider_realm") {
            throw AuthError(.providerAlreadyLinked)
        } catch DatabaseError.unique {
            throw AuthError(.identityTaken)
        }
        let details: JSON = [
            "provider": .string(identity.provider), "subject": .string(identity.subject),
            "how": .string(how.rawValue),
        ]
        try audit(.identityLinked, by: actor, on: identity.userID, details: details, services)
    }
}
