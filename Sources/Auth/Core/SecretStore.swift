import Storage

extension Transaction {
    /// The secrets of a user, oldest first.
    func secrets(of user: UserID) throws -> [UserSecret] {
        try all("SELECT * FROM secrets WHERE user_id = \(user) ORDER BY created_at, id").map(UserSecret.init)
    }

    func secret(_ id: SecretID, of user: UserID) throws -> UserSecret? {
        try one("SELECT * FROM secrets WHERE id = \(id) AND user_id = \(user)").map(UserSecret.init)
    }

    func countSecrets(of user: UserID, _ type: SecretType) throws -> Int {
        try one("SELECT count(*) AS count FROM secrets WHERE user_id = \(user) AND type = \(type)")?.get("count") ?? 0
    }

    /// Throws `too_many_secrets` when the user has as many of this type as there may be.
    ///
    /// Of parallel ones the last place goes to one: the transactions that count it run as if one after the other.
    func checkPlace(for type: SecretType, of user: UserID, max: Int) throws {
        guard try countSecrets(of: user, type) >= max else { return }
        let noun = type == .apikey ? "API keys" : "trusted devices"
        throw AuthError(.tooManySecrets, "This account has \(max) \(noun), and there can't be more. Remove one first.")
    }

    /// A secret that is found by a keyed digest.
    ///
    /// Throws `value_taken` when another one is found by the same.
    func insertSecret(_ secret: UserSecret, _ hash: PasswordHash, lookup: Digest) throws {
        do {
            try execute(
                """
                INSERT INTO secrets (id, user_id, type, hash, lookup, name, expires_at, scopes, is_primary, issued_by,
                    created_at)
                VALUES (\(secret.id), \(secret.userID), \(secret.type), \(hash), \(lookup), \(secret.name),
                    \(secret.expiresAt), \(secret.scopes.map(Permission.list)), \(secret.isPrimary), \(secret.issuer),
                    \(secret.createdAt))
                """
            )
        } catch DatabaseError.unique("secrets_lookup") {
            throw AuthError(.valueTaken, details: ["secret": "is in use already"])
        }
    }

    /// Removes a secret; the sessions that it began end.
    func removeSecret(_ secret: UserSecret, at now: Timestamp) throws {
        announce(Topic.secret(secret.id))
        try execute("DELETE FROM secrets WHERE id = \(secret.id)")
        if secret.type == .device { try endSessions(begunBy: secret, at: now) }
        if secret.type == .password { try removeDevices(of: secret.userID, at: now) }
    }

    /// Whether its user could not sign in any more without it.
    ///
    /// A password takes the devices along that are trusted by it. System users don't sign in: their last API key can go.
    func isLastWayIn(_ secret: UserSecret) throws -> Bool {
        switch secret.type {
        case .password: try countIdentities(of: secret.userID) == 0
        case .device:
            try countSecrets(of: secret.userID, .password) == 0 && countSecrets(of: secret.userID, .device) == 1
                && countIdentities(of: secret.userID) == 0
        case .apikey, .mfa, .backup: false
        }
    }

    /// Devices are trusted by a password and a second factor: when either changes, they have to show anew, and the sessions
    /// that they began end.
    func removeDevices(of user: UserID, at now: Timestamp) throws {
        let devices = try all("DELETE FROM secrets WHERE user_id = \(user) AND type = 'device' RETURNING *")
        for device in try devices.map(UserSecret.init) { try endSessions(begunBy: device, at: now) }
    }

    /// Removes secrets that expired before `time`, up to `count`, and tells how many.
    func sweepSecrets(expiredBefore time: Timestamp, count: Int, at now: Timestamp) throws -> Int {
        let secrets = try all(
            "SELECT * FROM secrets WHERE expires_at IS NOT NULL AND expires_at < \(time) ORDER BY expires_at LIMIT \(count)"
        ).map(UserSecret.init)
        for secret in secrets { try removeSecret(secret, at: now) }
        return secrets.count
    }

    func removeAPIKeys(of user: UserID) throws { _ = try removeAPIKeys(of: user, where: "TRUE") }

    /// Those that an API key has made.
    func removeAPIKeysOfKeys(of user: UserID) throws -> Int {
        try removeAPIKeys(of: user, where: "issued_by IS NOT NULL")
    }

    private func removeAPIKeys(of user: UserID, where condition: SQL) throws -> Int {
        let keys = try all(
            "DELETE FROM secrets WHERE user_id = \(user) AND type = 'apikey' AND \(condition) RETURNING id"
        )
        for key in keys { announce(Topic.secret(try key.get("id"))) }
        return keys.count
    }

    /// Removes what may be somebody else's: API keys, devices and links that were made before the owner of the address showed
    /// themselves; tells how many.
    ///
    /// `user` is as it was before its address was verified now.
    func removeUnconfirmedCredentials(of user: User, at now: Timestamp) throws -> Int {
        let time = user.isEmailVerified ? user.emailVerifiedAt : now.advanced(bySeconds: 1)
        guard let time else { return 0 }
        let devices = try secrets(of: user.id).filter { $0.type == .device && $0.createdAt < time }
        for device in devices { try removeSecret(device, at: now) }
        let links = try execute("DELETE FROM identities WHERE user_id = \(user.id) AND created_at < \(time)")
        return try removeAPIKeys(of: user.id, where: "created_at < \(time)") + devices.count + links
    }

    /// Whether a user can be signed in to, or acted for, by anything but mail.
    func hasCredentials(_ user: UserID) throws -> Bool {
        try countIdentities(of: user) > 0
            || one(
                "SELECT id FROM secrets WHERE user_id = \(user) AND type IN ('password', 'apikey', 'device') LIMIT 1"
            )
                != nil
    }

    /// Removes whatever a user could sign in or act by, and ends their sessions; the account itself stays.
    func removeAllCredentials(of user: UserID, at now: Timestamp) throws {
        try revokeOneTimeTokens(of: user)
        try removeAPIKeys(of: user)
        _ = try removeMFA(of: user, at: now)
        try execute("DELETE FROM secrets WHERE user_id = \(user)")
        try execute("DELETE FROM identities WHERE user_id = \(user)")
        try endSessions(of: user, because: .revoked, at: now)
    }

    func noteSecretUsed(_ id: SecretID, at time: Timestamp) throws {
        try execute(
            """
            UPDATE secrets SET last_used_at = \(time)
            WHERE id = \(id) AND (last_used_at IS NULL OR last_used_at < \(time))
            """
        )
    }
}

extension UserSecret {
    init(_ row: Row) throws {
        let scopes: String? = try row.get("scopes")
        self.init(
            id: try row.get("id"),
            userID: try row.get("user_id"),
            type: try row.get("type"),
            name: try row.get("name"),
            createdAt: try row.get("created_at"),
            lastUsedAt: try row.get("last_used_at"),
            expiresAt: try row.get("expires_at"),
            scopes: scopes.map([Permission].init(list:)),
            isPrimary: try row.get("is_primary"),
            isPending: try row.get("state", as: String?.self) == "pending",
            issuer: try row.get("issued_by")
        )
    }
}

extension Permission {
    /// Separated by spaces, as OAuth's `scope` is (RFC 6749 §3.3).
    static func list(_ permissions: [Permission]) -> String {
        permissions.map(\.rawValue).joined(separator: " ")
    }
}

extension [Permission] {
    /// Those that this version knows: an unknown one permits nothing.
    init(list: String) {
        self = list.split(separator: " ").compactMap { Permission(rawValue: String($0)) }
    }
}
