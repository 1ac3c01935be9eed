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
}
