import Storage

/// A user's TOTP key as it is stored.
struct StoredTOTP: Sendable {
    /// Sealed at ``place(_:)``.
    let sealed: String
    let isActive: Bool
    let createdAt: Timestamp

    static func place(_ user: UserID) -> String { "totp:\(user)" }
}

/// A recovery code as it is stored.
struct StoredRecoveryCode: Sendable {
    let id: Identifier<RecoveryCode>
    let hash: PasswordHash
}

extension Transaction {
    func totp(of user: UserID) throws -> StoredTOTP? {
        try one("SELECT * FROM secrets WHERE user_id = \(user) AND type = 'mfa'").map { row in
            StoredTOTP(
                sealed: try row.get("sealed"),
                isActive: try row.get("state", as: String.self) == "active",
                createdAt: try row.get("created_at")
            )
        }
    }

    /// Stores a key that waits for its first code; false when there is an active one, which stays.
    func putPendingTOTP(_ sealed: String, of user: UserID, id: SecretID, at now: Timestamp) throws -> Bool {
        try execute(
            """
            INSERT INTO secrets (id, user_id, type, hash, state, sealed, created_at)
            VALUES (\(id), \(user), 'mfa', '', 'pending', \(sealed), \(now))
            ON CONFLICT (user_id) WHERE type = 'mfa'
            DO UPDATE SET id = excluded.id, sealed = excluded.sealed, created_at = excluded.created_at, last_step = NULL
            WHERE secrets.state = 'pending'
            """
        ) == 1
    }

    /// Accepts a step once: false for one that was accepted before, or is older than one that was.
    ///
    /// One conditional update, so that of any number of uses at once, on whichever node, one succeeds.
    func acceptStep(_ step: Int64, of user: UserID, with totp: StoredTOTP, at now: Timestamp) throws -> Bool {
        try execute(
            """
            UPDATE secrets SET last_step = \(step), last_used_at = \(now), state = 'active'
            WHERE user_id = \(user) AND type = 'mfa' AND sealed = \(totp.sealed)
                AND state = \(totp.isActive ? "active" : "pending") AND (last_step IS NULL OR last_step < \(step))
            """
        ) == 1
    }

    /// Device secrets die with the change.
    func putMFA(_ isEnabled: Bool, of user: UserID, at now: Timestamp) throws {
        announce(Topic.user(user))
        try removeDevices(of: user, at: now)
        try execute("UPDATE users SET mfa_enabled = \(isEnabled), updated_at = \(now) WHERE id = \(user)")
    }

    /// Removes the key and the recovery codes; false when there was neither.
    func removeMFA(of user: UserID, at now: Timestamp) throws -> Bool {
        let count = try execute("DELETE FROM secrets WHERE user_id = \(user) AND type IN ('mfa', 'backup')")
        try putMFA(false, of: user, at: now)
        return count > 0
    }

    /// New recovery codes in place of the former ones.
    func replaceRecoveryCodes(_ codes: [(stored: StoredRecoveryCode, bucket: Int)], of user: UserID, at now: Timestamp)
        throws
    {
        try execute("DELETE FROM secrets WHERE user_id = \(user) AND type = 'backup'")
        for (code, bucket) in codes {
            try execute(
                """
                INSERT INTO secrets (id, user_id, type, hash, bucket, created_at)
                VALUES (\(code.id), \(user), 'backup', \(code.hash), \(bucket), \(now))
                """
            )
        }
    }

    /// Those unused whose code may be meant.
    func recoveryCodes(of user: UserID, bucket: Int) throws -> [StoredRecoveryCode] {
        try all(
            """
            SELECT id, hash FROM secrets
            WHERE user_id = \(user) AND type = 'backup' AND bucket = \(bucket) AND last_used_at IS NULL
            """
        ).map { row in StoredRecoveryCode(id: try row.get("id"), hash: try row.get("hash")) }
    }

    /// True for exactly one caller a code.
    func useRecoveryCode(_ id: Identifier<RecoveryCode>, at now: Timestamp) throws -> Bool {
        try execute("UPDATE secrets SET last_used_at = \(now) WHERE id = \(id) AND last_used_at IS NULL") == 1
    }

    func countRecoveryCodes(of user: UserID) throws -> (total: Int, unused: Int) {
        let row = try one(
            """
            SELECT count(*) AS total, count(*) FILTER (WHERE last_used_at IS NULL) AS unused FROM secrets
            WHERE user_id = \(user) AND type = 'backup'
            """
        )
        return try row.map { (try $0.get("total"), try $0.get("unused")) } ?? (0, 0)
    }
}
