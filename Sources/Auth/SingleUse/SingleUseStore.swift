import Storage

extension Transaction {
    /// Stores a token for a purpose.
    ///
    /// Earlier ones of the same purpose and subject die with it.
    func issueOneTimeToken(_ token: OneTimeToken, for purpose: SingleUsePurpose, subject: UserID?, at now: Timestamp)
        throws
    {
        try revokeOneTimeTokens(for: purpose, subject: subject)
        try execute(
            """
            INSERT INTO one_time_tokens (digest, purpose, subject_id, created_at, expires_at)
            VALUES (\(token.digest), \(purpose), \(subject), \(now), \(now.advanced(bySeconds: purpose.lifetimeSeconds)))
            """
        )
    }

    func revokeOneTimeTokens(for purpose: SingleUsePurpose, subject: UserID?) throws {
        try execute(
            "DELETE FROM one_time_tokens WHERE purpose = \(purpose) AND subject_id IS NOT DISTINCT FROM \(subject)"
        )
    }

    /// Whether a redemption would succeed now.
    ///
    /// Decides nothing: only ``redeemOneTimeToken(_:for:at:)`` does.
    func isLiveOneTimeToken(_ token: OneTimeToken, for purpose: SingleUsePurpose, at now: Timestamp) throws -> Bool {
        try one(
            """
            SELECT purpose FROM one_time_tokens
            WHERE digest = \(token.digest) AND purpose = \(purpose) AND used_at IS NULL AND expires_at > \(now)
            """
        ) != nil
    }

    /// True for exactly one caller a token.
    func redeemOneTimeToken(_ token: OneTimeToken, for purpose: SingleUsePurpose, at now: Timestamp) throws -> Bool {
        try one(
            """
            UPDATE one_time_tokens SET used_at = \(now)
            WHERE digest = \(token.digest) AND purpose = \(purpose) AND used_at IS NULL AND expires_at > \(now)
            RETURNING purpose
            """
        ) != nil
    }

    func sweepOneTimeTokens(before time: Timestamp) throws {
        try execute("DELETE FROM one_time_tokens WHERE expires_at < \(time)")
    }
}
