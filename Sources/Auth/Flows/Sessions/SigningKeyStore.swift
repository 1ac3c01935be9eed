import Storage

extension Transaction {
    /// Of the secret that signed last; nil in a new database.
    func signingFingerprint() throws -> String? {
        try one("SELECT fingerprint FROM key_fingerprints WHERE purpose = 'signing'")?.get("fingerprint")
    }

    func putSigningFingerprint(_ fingerprint: String) throws {
        try execute(
            """
            INSERT INTO key_fingerprints (purpose, fingerprint) VALUES ('signing', \(fingerprint))
            ON CONFLICT (purpose) DO UPDATE SET fingerprint = excluded.fingerprint
            """
        )
    }
}
