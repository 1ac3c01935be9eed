import Storage

/// What a key is for, whose fingerprint the database knows.
enum KeyPurpose: String, Sendable, SQLConvertible {
    case signing
    case sealing
}

extension Transaction {
    /// Of the key that was used last; nil in a new database.
    func fingerprint(of purpose: KeyPurpose) throws -> String? {
        try one("SELECT fingerprint FROM key_fingerprints WHERE purpose = \(purpose)")?.get("fingerprint")
    }

    func putFingerprint(_ fingerprint: String, of purpose: KeyPurpose) throws {
        try execute(
            """
            INSERT INTO key_fingerprints (purpose, fingerprint) VALUES (\(purpose), \(fingerprint))
            ON CONFLICT (purpose) DO UPDATE SET fingerprint = excluded.fingerprint
            """
        )
    }

    func storedSigningSecrets() throws -> StoredSigningSecrets {
        StoredSigningSecrets(
            fingerprint: try fingerprint(of: .signing),
            secrets: try all("SELECT fingerprint, sealed FROM signing_secrets ORDER BY created_at DESC").map { row in
                StoredSigningSecret(fingerprint: try row.get("fingerprint"), sealed: try row.get("sealed"))
            }
        )
    }

    /// From now on `fingerprint` signs.
    ///
    /// Those before it go on verifying, until no token of theirs can be alive, or are known by their fingerprint alone.
    func replaceSigningSecret(
        by fingerprint: String,
        _ secret: StoredSigningSecret?,
        keepingPrevious: Bool,
        at now: Timestamp
    ) throws {
        announce(Topic.signingKeys)
        try putFingerprint(fingerprint, of: .signing)
        if !keepingPrevious { try execute("UPDATE signing_secrets SET sealed = NULL") }
        try execute("UPDATE signing_secrets SET replaced_at = \(now) WHERE replaced_at IS NULL")
        let kept = now.advanced(bySeconds: -SigningSecrets.previousKeptSeconds)
        try execute("DELETE FROM signing_secrets WHERE replaced_at < \(kept)")
        guard let secret else { return }
        try execute(
            """
            INSERT INTO signing_secrets (fingerprint, sealed, created_at)
            VALUES (\(secret.fingerprint), \(secret.sealed), \(now))
            ON CONFLICT (fingerprint) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at,
                replaced_at = NULL
            """
        )
    }
}
