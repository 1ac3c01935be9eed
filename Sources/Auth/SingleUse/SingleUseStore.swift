import Storage

extension Transaction {
    /// Stores a token, and a code beside it if one is given; an earlier one of the same purpose and subject dies.
    ///
    /// One statement and no look beforehand, so that concurrent requests don't conflict (docs/designs/006-email.md).
    func issueOneTimeToken(
        _ token: OneTimeToken,
        code: Digest? = nil,
        for purpose: SingleUsePurpose,
        of subject: OneTimeSubject,
        payload: String? = nil,
        at now: Timestamp
    ) throws {
        try makePlace(for: purpose, of: subject, at: now)
        try execute(
            """
            INSERT INTO one_time_tokens (digest, purpose, subject_id, slot, code, payload, created_at, expires_at)
            VALUES (\(token.digest), \(purpose), \(subject.user), \(subject.slot(purpose)), \(code), \(payload), \(now),
                \(now.advanced(bySeconds: purpose.lifetimeSeconds)))
            ON CONFLICT (slot) DO UPDATE SET digest = excluded.digest, code = excluded.code, payload = excluded.payload,
                created_at = excluded.created_at, expires_at = excluded.expires_at, misses = 0, used_at = NULL
            """
        )
    }

    /// Stores a text that somebody else has chosen (``OneTimeToken/init(chosen:for:in:)``); false when it is there already, used or
    /// not.
    func claimOneTimeToken(
        _ token: OneTimeToken,
        for purpose: SingleUsePurpose,
        of subject: OneTimeSubject,
        payload: String? = nil,
        at now: Timestamp
    ) throws -> Bool {
        try makePlace(for: purpose, of: subject, at: now)
        return try execute(
            """
            INSERT INTO one_time_tokens (digest, purpose, subject_id, payload, created_at, expires_at)
            VALUES (\(token.digest), \(purpose), \(subject.user), \(payload), \(now),
                \(now.advanced(bySeconds: purpose.lifetimeSeconds)))
            ON CONFLICT (digest) DO NOTHING
            """
        ) == 1
    }

    /// Removes the oldest unused tokens of a user when there are as many as there may be.
    private func makePlace(for purpose: SingleUsePurpose, of subject: OneTimeSubject, at now: Timestamp) throws {
        guard purpose.hasMany, let user = subject.user else { return }
        try execute(
            """
            DELETE FROM one_time_tokens WHERE digest IN (
                SELECT digest FROM one_time_tokens
                WHERE subject_id = \(user) AND purpose = \(purpose) AND used_at IS NULL AND expires_at > \(now)
                ORDER BY created_at DESC, digest LIMIT 1000 OFFSET \(SingleUsePurpose.outstandingMax - 1)
            )
            """
        )
    }

    /// Kills everything outstanding of a user: what was mailed under an old password or email is good for nothing.
    func revokeOneTimeTokens(of user: UserID) throws {
        let revoked = try all(
            """
            DELETE FROM one_time_tokens WHERE subject_id = \(user) AND used_at IS NULL
            RETURNING purpose, subject_id, payload
            """
        )
        if try revoked.map(OneTimeGrant.init).contains(where: { $0.purpose == .emailChange }) {
            try dropPendingEmail(of: user)
        }
    }

    func revokeOneTimeToken(for purpose: SingleUsePurpose, of user: UserID) throws {
        try execute("DELETE FROM one_time_tokens WHERE slot = \(OneTimeSubject.user(user).slot(purpose))")
    }

    /// What a redemption would allow now; nil when it would fail.
    ///
    /// Decides nothing: only ``redeemOneTimeToken(_:for:at:)`` does.
    func liveOneTimeToken(_ token: OneTimeToken, for purposes: [SingleUsePurpose], at now: Timestamp) throws
        -> OneTimeGrant?
    {
        try one(
            "SELECT purpose, subject_id, payload FROM one_time_tokens WHERE \(Self.isLive(token, for: purposes, at: now))"
        ).map(OneTimeGrant.init)
    }

    /// Not nil for exactly one caller a token.
    func redeemOneTimeToken(_ token: OneTimeToken, for purposes: [SingleUsePurpose], at now: Timestamp) throws
        -> OneTimeGrant?
    {
        try one(
            """
            UPDATE one_time_tokens SET used_at = \(now) WHERE \(Self.isLive(token, for: purposes, at: now))
            RETURNING purpose, subject_id, payload
            """
        ).map(OneTimeGrant.init)
    }

    private static func isLive(_ token: OneTimeToken, for purposes: [SingleUsePurpose], at now: Timestamp) -> SQL {
        let listed = SQL.join(purposes.map { SQL("\($0)") }, by: ", ")
        return """
            digest = \(token.digest) AND purpose IN (\(listed)) AND used_at IS NULL
                AND expires_at > \(now) AND misses < \(OneTimeCode.missesMax)
            """
    }

    /// The user whose token it was, if they may sign in and belong to the collection.
    func activeUser(of grant: OneTimeGrant, in collection: Collection) throws -> User? {
        guard let subject = grant.subject, let user = try self.user(subject, in: collection.id) else { return nil }
        return user.status == .active ? user : nil
    }

    /// Redeems by the code, once; a wrong one is counted, so the caller must commit then.
    func redeemOneTimeCode(_ code: Digest, for purpose: SingleUsePurpose, of subject: OneTimeSubject, at now: Timestamp)
        throws -> OneTimeCodeOutcome
    {
        let slot = subject.slot(purpose)
        let row = try one(
            """
            UPDATE one_time_tokens SET used_at = CASE WHEN code = \(code) THEN \(now) END,
                misses = misses + CASE WHEN code = \(code) THEN 0 ELSE 1 END
            WHERE slot = \(slot) AND code IS NOT NULL AND used_at IS NULL AND expires_at > \(now)
                AND misses < \(OneTimeCode.missesMax)
            RETURNING used_at
            """
        )
        if try row?.get("used_at", as: Timestamp?.self) != nil { return .redeemed }
        let spent = try one(
            "SELECT slot FROM one_time_tokens WHERE slot = \(slot) AND code = \(code) AND used_at IS NOT NULL"
        )
        return spent == nil ? .wrong : .spent
    }

    /// Counts a wrong try with a token that needs more than itself.
    func countMiss(_ token: OneTimeToken) throws {
        try execute("UPDATE one_time_tokens SET misses = misses + 1 WHERE digest = \(token.digest)")
    }

    /// Removes what has expired, up to `count`, and tells how many; an email that waited for confirmation waits no longer.
    func sweepOneTimeTokens(before time: Timestamp, count: Int) throws -> Int {
        let swept = try all(
            """
            DELETE FROM one_time_tokens WHERE digest IN (
                SELECT digest FROM one_time_tokens WHERE expires_at < \(time) ORDER BY expires_at LIMIT \(count)
            )
            RETURNING purpose, subject_id, payload
            """
        )
        for grant in try swept.map(OneTimeGrant.init) where grant.purpose == .emailChange {
            if let user = grant.subject { try dropPendingEmail(of: user) }
        }
        return swept.count
    }
}

extension OneTimeGrant {
    init(_ row: Row) throws {
        self.init(
            purpose: try row.get("purpose"),
            subject: try row.get("subject_id"),
            payload: try row.get("payload")
        )
    }
}
