import Storage

extension Transaction {
    /// The user's password hash; nil for unknown users and those without a password.
    func passwordHash(of user: UserID) throws -> PasswordHash? {
        try one("SELECT hash FROM secrets WHERE user_id = \(user) AND type = 'password'")?.get("hash")
    }

    /// The password of a new user.
    func insertPassword(_ hash: PasswordHash, of user: UserID, id: Identifier<PasswordHash>, at now: Timestamp) throws {
        try execute(
            """
            INSERT INTO secrets (id, user_id, type, hash, created_at) VALUES (\(id), \(user), 'password', \(hash), \(now))
            """
        )
    }

    /// Sets or replaces the one password of a user; device secrets, one-time tokens that are
    /// outstanding and a second factor that was never confirmed die.
    func putPassword(_ hash: PasswordHash, of user: UserID, id: Identifier<PasswordHash>, at now: Timestamp) throws {
        try revokeOneTimeTokens(of: user)
        try removeDevices(of: user, at: now)
        // One that a thief of the former password has set up must not be confirmed later.
        try execute("DELETE FROM secrets WHERE user_id = \(user) AND type = 'mfa' AND state = 'pending'")
        try execute(
            """
            INSERT INTO secrets (id, user_id, type, hash, created_at) VALUES (\(id), \(user), 'password', \(hash), \(now))
            ON CONFLICT (user_id) WHERE type = 'password'
            DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at, last_used_at = NULL
            """
        )
    }

    /// The same password under new parameters; false when it was changed meanwhile, or renewed by another sign-in.
    func rehashPassword(of user: UserID, from old: PasswordHash, to new: PasswordHash) throws -> Bool {
        try execute(
            "UPDATE secrets SET hash = \(new) WHERE user_id = \(user) AND type = 'password' AND hash = \(old)"
        ) == 1
    }
}
