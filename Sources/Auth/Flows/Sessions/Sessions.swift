import Storage

/// What a sign-in answers.
struct SignIn: Sendable {
    let token: Secret<String>
    let type: TokenType
    let expiresAt: Timestamp
    let user: User
    let collection: Collection

    var json: JSON {
        [
            "token": .string(token.reveal()), "token_type": .string(type.rawValue), "expires_at": expiresAt.json,
            "record": user.record(in: collection),
        ]
    }

    static let shape = Shape.object([
        .required("token", .text), .required("token_type", .text), .required("expires_at", .time),
        .required("record", .record),
    ])
}

/// How a sign-in goes on.
enum SignInOutcome: Sendable {
    case signedIn(SignIn)
    /// The ticket goes with a second factor to `login/mfa`.
    case secondFactorRequired(OneTimeToken)

    var json: JSON {
        switch self {
        case .signedIn(let signIn): signIn.json
        case .secondFactorRequired(let ticket): ["mfa_required": true, "mfa_token": .string(ticket.text)]
        }
    }
}

/// Sessions and their tokens.
///
/// The only place that makes either.
struct Sessions: Sendable {
    let services: Services

    /// Turns a proof into a session, or a ticket for a second factor, if the decision allows it: the one end of every
    /// sign-in.
    ///
    /// `changes` are what belongs to the sign-in, such as a new password: they run first in its transaction, and only
    /// while nothing is locked. Who is signed in already is the `actor`, and `former` the session that the new one takes the place of:
    /// it ends no later than that one would have. Throws `invalid_credentials` for accounts that may not sign in, `locked_out` while
    /// the account is locked, `session_ended` when the actor's has ended, `identity_taken` and `provider_already_linked` where the
    /// proof has a link.
    func begin(
        _ proof: Proof,
        in collection: Collection,
        lockout: Lockout,
        from client: Client,
        as wish: TokenWish = TokenWish(),
        by actor: Actor? = nil,
        insteadOf former: Session? = nil,
        with changes: @escaping @Sendable (Transaction) throws -> Void = { _ in }
    ) async throws -> SignInOutcome {
        let settings = try await services.settings()
        let now = services.clock.now()
        let id = SessionID(at: now, random: services.random)
        let opaque = OpaqueToken(accessTo: id, random: services.random)
        let ticket = OneTimeToken(random: services.random)
        let links = try await services.linking(proof.link, to: proof.subject, in: collection, from: client, by: actor)
        let (user, session) = try await services.db.write { tx -> (User?, Session?) in
            if let actor { try tx.checkActing(actor, at: now) }
            try lockout.check(in: tx, settings)
            try changes(tx)
            // First, since it may change the user.
            let isProofCurrent = try proof.redeem(tx)
            let facts = SignInDecision.Facts(
                user: try tx.user(proof.subject, in: collection.id),
                isAdminsCollection: collection.isAdmins,
                isProofCurrent: isProofCurrent
            )
            let decision = SignInDecision(proof, facts)
            let trace: AuditDetails = [
                "trace": .list(decision.trace),
                "methods": .list(proof.methods.map(\.rawValue)), "session": .string(id.rawValue),
            ]
            switch (decision.verdict, facts.user) {
            case (.begin(let kind), let user?):
                let start = former?.createdAt ?? now
                let expiresAt = Self.expiry(of: wish, kind, session: start, at: now, settings)
                guard expiresAt > now else {
                    // The absolute end was lowered since the former one began.
                    throw AuthError(.sessionEnded, details: ["reason": Session.EndReason.expired.rawValue])
                }
                var session = Session(id, of: user, kind, by: proof, from: client, at: now, until: expiresAt)
                session.createdAt = start
                session.notValidAfter = wish.notValidAfter
                if wish.type == .opaque { session.accessTokens = [.init(digest: opaque.digest, expiresAt: expiresAt)] }
                try lockout.forget(in: tx)
                let user = try links(tx, user)
                try open(session, trace, settings, at: now, in: tx)
                return (user.signedIn(at: now), session)
            case (.askSecondFactor, let user?):
                // No failure, and no success either: what failed before stays counted.
                try ask(for: ticket, of: user.id, after: proof, wish, trace, from: client, in: tx)
                return (user, nil)
            default:
                // Refused after the commit: a throw would take the count back. It counts like a wrong password, so that
                // a lock doesn't tell that the password was right.
                try lockout.countFailure(of: facts.user?.id, details: trace, in: tx, settings)
                return (nil, nil)
            }
        }
        guard let user else { throw AuthError(.invalidCredentials) }
        guard let session else { return .secondFactorRequired(ticket) }
        let token =
            switch wish.type {
            case .opaque: opaque.text
            case .jwt: try await issue(for: user, collection, session, expiresAt: session.expiresAt, at: now)
            }
        return .signedIn(
            SignIn(token: token, type: wish.type, expiresAt: session.expiresAt, user: user, collection: collection)
        )
    }

    private func open(
        _ session: Session,
        _ trace: AuditDetails,
        _ settings: Settings,
        at now: Timestamp,
        in tx: Transaction
    ) throws {
        let actor = Actor(id: session.userID, client: session.client)
        try tx.openSession(session, settings, by: actor, services)
        try tx.noteSignIn(of: session.userID, at: now)
        try tx.audit(.signInSucceeded, by: actor, on: session.userID, details: trace, services)
    }

    private func ask(
        for ticket: OneTimeToken,
        of user: UserID,
        after proof: Proof,
        _ wish: TokenWish,
        _ trace: AuditDetails,
        from client: Client,
        in tx: Transaction
    ) throws {
        try tx.issueOneTimeToken(
            ticket,
            for: .secondFactor,
            of: .user(user),
            payload: FirstFactor(proof, wish).payload,
            at: proof.at
        )
        let actor = Actor(id: nil, client: client)
        try tx.audit(.secondFactorRequired, by: actor, on: user, details: trace, services)
    }

    /// Another token of the caller's session, of the same type, with the window configured now, never beyond the session's
    /// absolute end or the one that was asked for.
    ///
    /// A guest's keeps the guests' window. Throws `session_required`, `session_ended`, `forbidden` for an impersonation.
    func refresh(_ principal: Principal) async throws -> (token: Secret<String>, expiresAt: Timestamp) {
        guard case .token(let type, let session, _) = principal.credential else { throw AuthError(.sessionRequired) }
        let settings = try await services.settings()
        let now = services.clock.now()
        let window: Window =
            switch session.kind {
            case .impersonation: throw AuthError(.forbidden, "An impersonation can't be prolonged.")
            case .anonymous: .anonymous
            case .user, .admin:
                settings.isSet(.refresh) ? .refresh : type == .opaque ? .accessToken : session.kind.window
            }
        let latest = Self.expiry(of: window, session: session.createdAt, now, settings)
        let expiresAt = min(latest, session.notValidAfter ?? latest)
        guard expiresAt > now else {
            throw AuthError(.sessionEnded, details: ["reason": Session.EndReason.expired.rawValue])
        }
        if type == .opaque {
            let token = OpaqueToken(accessTo: session.id, random: services.random)
            try await extend(session.id, at: now) { tx in
                try tx.addAccessToken(.init(digest: token.digest, expiresAt: expiresAt), to: session.id, at: now)
            }
            return (token.text, expiresAt)
        }
        // Only ever later: a window that was shortened since leaves the earlier tokens alone. Tokens tell whole
        // seconds, so of many refreshes within one only the first writes.
        if expiresAt > session.expiresAt {
            try await extend(session.id, at: now) { tx in
                try tx.extendSession(session.id, until: expiresAt, at: now)
            }
        }
        let token = try await issue(for: principal.user, principal.collection, session, expiresAt: expiresAt, at: now)
        return (token, expiresAt)
    }

    /// Throws `session_ended` when `change` finds nothing to change since the session has ended.
    private func extend(
        _ id: SessionID,
        at now: Timestamp,
        by change: @escaping @Sendable (Transaction) throws -> Bool
    ) async throws {
        let reason: Session.EndReason? = try await services.db.write { tx in
            if try change(tx) { return nil }
            guard let stored = try tx.session(id) else { return .revoked }
            return stored.endReason(at: now)
        }
        if let reason { throw AuthError(.sessionEnded, details: ["reason": reason.rawValue]) }
    }

    /// A token for an application's own file server, which checks it by the JWKS: audience `file`, one resource.
    ///
    /// It opens nothing here. Throws `session_required`.
    func fileToken(_ principal: Principal, for resource: String, from client: Client) async throws -> (
        token: Secret<String>, expiresAt: Timestamp
    ) {
        let settings = try await services.settings()
        let now = services.clock.now()
        let expiresAt = Timestamp(seconds: now.seconds + Int64(settings.seconds(.file)))
        let claims = claims(
            .file,
            principal.user,
            principal.collection,
            try principal.signedInSession(),
            expiresAt: expiresAt,
            at: now,
            resource: resource
        )
        try await services.write(as: principal.actor(from: client)) { [services] tx in
            try tx.audit(
                .fileTokenIssued,
                by: principal.actor(from: client),
                on: principal.user.id,
                details: ["resource": .string(resource)],
                services
            )
        }
        return (try await services.signingKeys().issue(claims), expiresAt)
    }

    /// The caller's live sessions, newest first.
    func list(of principal: Principal, page: Paging) async throws -> PageOf<Session> {
        try await services.lastSeen.flush(to: services.db)
        let user = principal.user.id
        let list = ListQuery(
            name: "sessions:\(user)",
            table: "sessions",
            alternatives: ["user_id = \(user) AND \(Session.isLive(at: services.clock.now()))"],
            order: ["created_at", "id"],
            isDescending: true
        ) { row in [.integer(try row.get("created_at")), .text(try row.get("id"))] }
        return try await services.page(page, of: list, asSearch: false, Session.init(live:))
    }

    /// Ends one of the caller's sessions.
    ///
    /// Throws `not_found` when it isn't theirs or has ended.
    func end(_ id: SessionID, of principal: Principal, because reason: Session.EndReason, from client: Client)
        async throws
    {
        let now = services.clock.now()
        try await services.write(as: principal.actor(from: client)) { [services] tx in
            guard try tx.endSession(id, of: principal.user.id, because: reason, at: now) else {
                throw AuthError(.notFound)
            }
            let details: AuditDetails = ["session": .string(id.rawValue), "reason": .string(reason.rawValue)]
            try tx.audit(
                .sessionEnded,
                by: principal.actor(from: client),
                on: principal.user.id,
                details: details,
                services
            )
        }
    }

    /// Ends the caller's other sessions, or all of them, and tells how many.
    func endMany(of principal: Principal, keepingCurrent: Bool, from client: Client) async throws -> Int {
        let now = services.clock.now()
        return try await services.write(as: principal.actor(from: client)) { [services] tx in
            let kept = keepingCurrent ? principal.session?.id : nil
            let count = try tx.endSessions(of: principal.user.id, except: kept, because: .revoked, at: now)
            guard count > 0 else { return 0 }
            try tx.audit(
                .sessionsEnded,
                by: principal.actor(from: client),
                on: principal.user.id,
                details: ["count": .integer(Int64(count)), "reason": "revoked"],
                services
            )
            return count
        }
    }

    /// A JWT of a session that is stored already.
    func issue(
        for user: User,
        _ collection: Collection,
        _ session: Session,
        expiresAt: Timestamp,
        at now: Timestamp
    ) async throws -> Secret<String> {
        let claims = claims(session.kind.audience, user, collection, session, expiresAt: expiresAt, at: now)
        return try await services.signingKeys().issue(claims)
    }

    private func claims(
        _ audience: SessionClaims.Audience,
        _ user: User,
        _ collection: Collection,
        _ session: Session,
        expiresAt: Timestamp,
        at now: Timestamp,
        resource: String? = nil
    ) -> SessionClaims {
        SessionClaims(
            audience: audience,
            issuedAt: now,
            expiresAt: expiresAt,
            tokenID: Base64URL.encode(services.random.bytes(12)),
            session: session.id,
            user: user.id,
            email: user.email,
            collection: collection.name,
            methods: session.methods.map(\.rawValue),
            resource: resource,
            isAnonymous: session.kind == .anonymous,
            impersonatedBy: session.impersonation?.admin
        )
    }

    private static func expiry(
        of wish: TokenWish,
        _ kind: Session.Kind,
        session start: Timestamp,
        at now: Timestamp,
        _ settings: Settings
    ) -> Timestamp {
        guard wish.type == .opaque else { return expiry(of: kind.window, session: start, now, settings) }
        let end = expiry(of: .session, session: start, now, settings)
        return min(wish.notValidAfter ?? expiry(of: .accessToken, session: start, now, settings), end)
    }

    /// Whole seconds, since a token's `exp` has no finer grain and must not outlive its session.
    private static func expiry(of window: Window, session start: Timestamp, _ now: Timestamp, _ settings: Settings)
        -> Timestamp
    {
        Timestamp(
            seconds: min(
                now.seconds + Int64(settings.seconds(window)),
                start.seconds + Int64(settings.seconds(.session))
            )
        )
    }
}
