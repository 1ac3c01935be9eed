import Storage

/// Acting as a user, for support: an admin gets a token of theirs for an hour.
///
/// Such a session can't be refreshed, and changes no credentials, email or second factor (``Route/admit(_:collection:parameters:_:)``);
/// it ends with the session of the admin behind it.
struct Impersonation: Sendable {
    let services: Services
    let sessions: Sessions

    /// A session as the user; the audit log keeps the reason, and the user is told if `auth.impersonation.notify` is on.
    ///
    /// Throws `not_found`, and `forbidden` for admins, system users and accounts that can't sign in; `session_required` for
    /// an API key.
    func begin(
        as id: UserID,
        in collection: Collection,
        because reason: String?,
        by principal: Principal,
        from client: Client
    ) async throws -> SignIn {
        guard !collection.isAdmins else { throw AuthError(.forbidden, "Admins can't be impersonated.") }
        let own = try principal.signedInSession()
        let settings = try await services.settings()
        let outbox = settings.isOn("auth.impersonation.notify") ? try await services.outboxIfOn() : nil
        let now = services.clock.now()
        let session = SessionID(at: now, random: services.random)
        let expiresAt = Timestamp(seconds: now.seconds + Int64(settings.seconds(.impersonate)))
        let (user, lent) = try await services.write(as: principal.actor(from: client)) { [services] tx in
            guard let user = try tx.user(id, in: collection.id) else { throw AuthError(.notFound) }
            guard user.kind == .human, user.status == .active else {
                throw AuthError(.forbidden, "Only an active person can be impersonated.")
            }
            let lent = Session(session, of: user, to: own, from: client, at: now, until: expiresAt)
            try tx.openSession(lent, settings, by: principal.actor(from: client), services)
            let details: AuditDetails = ["session": .string(session.rawValue), "reason": .optional(reason)]
            try tx.audit(.impersonationBegun, by: principal.actor(from: client), on: id, details: details, services)
            try outbox?.notify(user, of: .impersonated, in: collection, from: client, tx)
            return (user, lent)
        }
        let token = try await sessions.issue(for: user, collection, lent, expiresAt: expiresAt, at: now)
        return SignIn(token: token, type: .jwt, expiresAt: expiresAt, user: user, collection: collection)
    }
}

extension Session {
    /// One of a user's in the hands of the admin whose own session `admin` is.
    fileprivate init(
        _ id: SessionID,
        of user: User,
        to admin: Session,
        from client: Client,
        at now: Timestamp,
        until expiresAt: Timestamp
    ) {
        self.init(
            id: id,
            userID: user.id,
            collectionID: user.collectionID,
            kind: .impersonation,
            methods: [],
            provedAt: now,
            client: client,
            createdAt: now,
            lastSeenAt: now,
            expiresAt: expiresAt,
            end: nil,
            impersonation: Impersonator(admin: admin.userID, session: admin.id)
        )
    }
}
