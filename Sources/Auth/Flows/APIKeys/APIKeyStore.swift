import Storage

/// An API key as it is verified.
struct StoredAPIKey: Sendable {
    let secret: UserSecret
    let hash: PasswordHash
}

extension Transaction {
    /// The key that is found by this keyed digest.
    func apiKey(lookup: Digest) throws -> StoredAPIKey? {
        try one("SELECT * FROM secrets WHERE lookup = \(lookup) AND type = 'apikey'").map { row in
            StoredAPIKey(secret: try UserSecret(row), hash: try row.get("hash"))
        }
    }

    func apiKey(_ id: SecretID) throws -> UserSecret? {
        try one("SELECT * FROM secrets WHERE id = \(id) AND type = 'apikey'").map(UserSecret.init)
    }

    func primaryAPIKey(of user: UserID) throws -> UserSecret? {
        try one("SELECT * FROM secrets WHERE user_id = \(user) AND is_primary = TRUE").map(UserSecret.init)
    }
}
