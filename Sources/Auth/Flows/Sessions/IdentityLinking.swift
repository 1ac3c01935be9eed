import Storage

extension Services {
    /// What links an account at a provider to a user, unless it is theirs already, and tells them; nothing without one.
    ///
    /// A merge has shown both the account and its address: where nobody had before, what others may have made goes first, but of
    /// admins, whom only admins make. It gives the user as they are then, and throws like ``Transaction/link(_:how:by:_:)``. The actor
    /// is the user where there is no other.
    func linking(
        _ link: PendingLink?,
        to user: UserID,
        in collection: Collection,
        from client: Client,
        by actor: Actor?
    ) async throws -> @Sendable (Transaction, User) throws -> User {
        guard let link else { return { _, user in user } }
        let now = clock.now()
        let identity = link.identity(of: user, in: collection, at: now, random: random)
        let outbox = try await outboxIfOn()
        let actor = actor ?? Actor(id: user, client: client)
        return { tx, former in
            var user = former
            if link.how == .merge, let email = user.email, email.folded == link.email?.folded, !user.isEmailVerified {
                if !collection.isAdmins {
                    _ = try tx.removeUnconfirmedCredentials(of: user, at: now)
                    try tx.endSessions(of: user.id, except: actor.session, because: .revoked, at: now)
                }
                try tx.verifyEmail(email, of: user.id, at: now)
                user = try tx.user(user.id) ?? user
            }
            let isNew = try tx.linkIfMissing(identity, how: link.how, by: actor, self)
            // Of a claim they are told more.
            guard isNew, link.how != .claim else { return user }
            let notice = Notice.signInMethodAdded(link.displayName)
            try outbox?.notify(user, of: notice, in: collection, from: client, tx)
            return user
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
    /// Throws `identity_taken` when it is somebody's, `provider_already_linked` when the user has another of the provider,
    /// `too_many_secrets` when they have as many as there may be.
    func link(_ identity: Identity, how: PendingLink.How, by actor: Actor, _ services: Services) throws {
        guard try countIdentities(of: identity.userID) < Identity.countMax else {
            throw AuthError(
                .tooManySecrets,
                "This account is linked to \(Identity.countMax) providers, and there can't be more. Unlink one first."
            )
        }
        do {
            try insertIdentity(identity)
        } catch DatabaseError.unique("identities_user_id_provider_realm") {
            throw AuthError(.providerAlreadyLinked)
        } catch DatabaseError.unique {
            throw AuthError(.identityTaken)
        }
        let details: AuditDetails = [
            "provider": .string(identity.provider), "subject": .string(identity.subject),
            "how": .string(how.rawValue),
        ]
        try audit(.identityLinked, by: actor, on: identity.userID, details: details, services)
    }
}
