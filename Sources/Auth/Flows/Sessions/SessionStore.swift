import Storage

extension Transaction {
    func insertSession(_ session: Session) throws {
        try execute(
            """
            INSERT INTO sessions
                (id, user_id, collection_id, kind, methods, proved_at, ip, user_agent, created_at, last_seen_at, expires_at,
                access_tokens, not_valid_after, secret_id, impersonated_by, impersonating_session, removal_day, generation)
            VALUES (\(session.id), \(session.userID), \(session.collectionID), \(session.kind),
                \(session.methods.map(\.rawValue).joined(separator: " ")), \(session.provedAt), \(session.client.address),
                \(session.client.userAgent), \(session.createdAt), \(session.lastSeenAt), \(session.expiresAt),
                \(AccessToken.text(session.accessTokens)), \(session.notValidAfter), \(session.secret),
                \(session.impersonation?.admin), \(session.impersonation?.session),
                \(Session.removalDay(after: session.expiresAt)),
                (SELECT coalesce(max(generation), 0) FROM session_generations))
            """
        )
    }

    func session(_ id: SessionID) throws -> Session? {
        try one(
            """
            SELECT sessions.*, next.began_at AS generation_ended_at, next.end_reason AS generation_end_reason
            FROM sessions LEFT JOIN session_generations AS next ON next.generation = sessions.generation + 1
            WHERE sessions.id = \(id)
            """
        ).map { try Session($0) }
    }

    /// What ending sets, beside a condition that names live sessions.
    private static func end(_ reason: Session.EndReason, at now: Timestamp) -> SQL {
        "ended_at = \(now), end_reason = \(reason), removal_day = \(Session.removalDay(after: now))"
    }

    /// The live sessions of a user, newest first.
    func liveSessions(of user: UserID, at now: Timestamp) throws -> [Session] {
        try all(
            """
            SELECT * FROM sessions WHERE user_id = \(user) AND \(Session.isLive(at: now))
            ORDER BY created_at DESC, id DESC
            """
        ).map(Session.init(live:))
    }

    /// Moves the end of a live session further away; false when it is that far already, or ended.
    ///
    /// Other nodes are not told: one that takes a session for expired looks again.
    func extendSession(_ id: SessionID, until expiresAt: Timestamp, at now: Timestamp) throws -> Bool {
        announceHere(Topic.session(id))
        return try execute(
            """
            UPDATE sessions SET expires_at = \(expiresAt), removal_day = \(Session.removalDay(after: expiresAt))
            WHERE id = \(id) AND \(Session.isLive(at: now)) AND expires_at < \(expiresAt)
            """
        ) == 1
    }

    /// Gives a live session another opaque token; false when it has ended.
    func addAccessToken(_ token: AccessToken, to id: SessionID, at now: Timestamp) throws -> Bool {
        guard let session = try session(id), session.endReason(at: now) == nil else { return false }
        announce(Topic.session(id))
        var tokens = session.accessTokens.filter { $0.expiresAt > now } + [token]
        // The first one is the sign-in's own: whoever refreshes, even by a stolen token, can't push its owner out.
        if tokens.count > AccessToken.countMax { tokens.removeSubrange(1...(tokens.count - AccessToken.countMax)) }
        let expiresAt = max(session.expiresAt, token.expiresAt)
        try execute(
            """
            UPDATE sessions SET access_tokens = \(AccessToken.text(tokens)),
                expires_at = \(expiresAt), removal_day = \(Session.removalDay(after: expiresAt))
            WHERE id = \(id)
            """
        )
        return true
    }

    /// Adds methods to a session that has just proved more.
    func strengthenSession(_ id: SessionID, to methods: [Proof.Method], at now: Timestamp) throws {
        announce(Topic.session(id))
        let text = methods.map(\.rawValue).joined(separator: " ")
        try execute("UPDATE sessions SET methods = \(text), proved_at = \(now) WHERE id = \(id)")
    }

    /// Ends one live session of a user; false when there is none.
    func endSession(_ id: SessionID, of user: UserID, because reason: Session.EndReason, at now: Timestamp) throws
        -> Bool
    {
        announce(Topic.session(id))
        return try execute(
            """
            UPDATE sessions SET \(Self.end(reason, at: now))
            WHERE id = \(id) AND user_id = \(user) AND \(Session.isLive(at: now))
            """
        ) == 1
    }

    /// Ends the live sessions of a user, all or all but one, and tells how many.
    @discardableResult
    func endSessions(
        of user: UserID,
        except kept: SessionID? = nil,
        because reason: Session.EndReason,
        at now: Timestamp
    ) throws -> Int {
        let rows = try all(
            """
            UPDATE sessions SET \(Self.end(reason, at: now))
            WHERE user_id = \(user) AND \(Session.isLive(at: now)) AND id <> \(kept?.rawValue ?? "")
            RETURNING id
            """
        )
        for row in rows { announce(Topic.session(try row.get("id"))) }
        return rows.count
    }

    /// Ends the oldest live sessions of a user beyond those that are kept; either their own, or those of admins in their place.
    func endOldestSessions(of user: UserID, keeping count: Int, areImpersonations: Bool, at now: Timestamp) throws
        -> [SessionID]
    {
        let rows = try all(
            """
            UPDATE sessions SET \(Self.end(.revoked, at: now))
            WHERE id IN (
                SELECT id FROM sessions WHERE user_id = \(user) AND \(Session.isLive(at: now))
                    AND (impersonated_by IS NOT NULL) = \(areImpersonations)
                ORDER BY created_at DESC, id DESC LIMIT \(Self.sessionsEndedAtOnceMax) OFFSET \(count)
            )
            RETURNING id
            """
        )
        let ids: [SessionID] = try rows.map { try $0.get("id") }
        for id in ids { announce(Topic.session(id)) }
        return ids
    }

    /// An account that has more since a limit was lowered loses them over several sign-ins.
    private static let sessionsEndedAtOnceMax = 1000

    /// Ends the sessions that a device secret began.
    func endSessions(begunBy secret: UserSecret, at now: Timestamp) throws {
        let rows = try all(
            """
            UPDATE sessions SET \(Self.end(.revoked, at: now))
            WHERE user_id = \(secret.userID) AND secret_id = \(secret.id) AND \(Session.isLive(at: now))
            RETURNING id
            """
        )
        for row in rows { announce(Topic.session(try row.get("id"))) }
    }

    /// Ends every session there is, of everybody, by one row: a session lives only in the generation that it began in.
    func endAllSessions(because reason: Session.EndReason, at now: Timestamp) throws {
        announce(Topic.allSessions)
        try execute(
            """
            INSERT INTO session_generations (generation, began_at, end_reason)
            VALUES ((SELECT coalesce(max(generation), 0) + 1 FROM session_generations), \(now), \(reason))
            """
        )
    }

    /// Notes when a session was last used.
    ///
    /// Caches keep their older note: it is only shown, never decided by.
    func noteSessionSeen(_ id: SessionID, at time: Timestamp) throws {
        try execute("UPDATE sessions SET last_seen_at = \(time) WHERE id = \(id) AND last_seen_at < \(time)")
    }

    /// Removes sessions whose day has come, up to `count`, and tells how many.
    func sweepSessions(before day: Int64, count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM sessions WHERE id IN (
                SELECT id FROM sessions WHERE removal_day < \(day) ORDER BY removal_day LIMIT \(count)
            )
            """
        )
    }
}

extension Session.Impersonator {
    fileprivate init?(_ row: Row) throws {
        guard let admin: UserID = try row.get("impersonated_by"),
            let session: SessionID = try row.get("impersonating_session")
        else { return nil }
        self.init(admin: admin, session: session)
    }
}

extension Session.End {
    fileprivate init?(_ row: Row, _ time: String, _ reason: String) throws {
        guard let at: Timestamp = try row.get(time) else { return nil }
        self.init(at: at, reason: try row.get(reason))
    }
}

extension Session {
    /// What holds for live sessions: also that they were not ended together with all others
    /// (``Storage/Transaction/endAllSessions(because:at:)``).
    static func isLive(at now: Timestamp) -> SQL {
        """
        ended_at IS NULL AND expires_at > \(now)
            AND generation = (SELECT coalesce(max(generation), 0) FROM session_generations)
        """
    }

    /// Of a row of the table alone, which ``isLive(at:)`` holds for.
    init(live row: Row) throws {
        try self.init(row, end: nil)
    }

    /// Of a row with the end of its generation.
    init(_ row: Row) throws {
        try self.init(
            row,
            end: try End(row, "ended_at", "end_reason")
                ?? End(row, "generation_ended_at", "generation_end_reason")
        )
    }

    private init(_ row: Row, end: End?) throws {
        let methods: String = try row.get("methods")
        self.init(
            id: try row.get("id"),
            userID: try row.get("user_id"),
            collectionID: try row.get("collection_id"),
            kind: try row.get("kind"),
            methods: methods.split(separator: " ").compactMap { Proof.Method(rawValue: String($0)) },
            provedAt: try row.get("proved_at"),
            client: Client(address: try row.get("ip"), userAgent: try row.get("user_agent")),
            createdAt: try row.get("created_at"),
            lastSeenAt: try row.get("last_seen_at"),
            expiresAt: try row.get("expires_at"),
            end: end,
            accessTokens: try AccessToken.list(try row.get("access_tokens")),
            notValidAfter: try row.get("not_valid_after"),
            secret: try row.get("secret_id"),
            impersonation: try Impersonator(row)
        )
    }
}
