import Storage

extension Transaction {
    /// The device secret that is found by this keyed digest.
    func device(lookup: Digest) throws -> (id: SecretID, hash: PasswordHash)? {
        try one("SELECT id, hash FROM secrets WHERE lookup = \(lookup) AND type = 'device'").map { row in
            (try row.get("id"), try row.get("hash"))
        }
    }

    /// False when it was removed meanwhile.
    func useDevice(_ id: SecretID, at now: Timestamp) throws -> Bool {
        try execute("UPDATE secrets SET last_used_at = \(now) WHERE id = \(id) AND type = 'device'") == 1
    }
}
