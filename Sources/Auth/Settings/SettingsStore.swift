import Storage

/// A setting as it is stored: plaintext, or sealed when it is a secret.
struct StoredSetting: Sendable {
    let key: String
    let value: String
    let isSealed: Bool
}

extension Transaction {
    func storedSettings() throws -> [StoredSetting] {
        try all("SELECT key, value, is_sealed FROM settings ORDER BY key").map { row in
            StoredSetting(key: try row.get("key"), value: try row.get("value"), isSealed: try row.get("is_sealed"))
        }
    }

    func putSetting(_ setting: StoredSetting, at now: Timestamp) throws {
        try execute(
            """
            INSERT INTO settings (key, value, is_sealed, updated_at)
            VALUES (\(setting.key), \(setting.value), \(setting.isSealed), \(now))
            ON CONFLICT (key) DO UPDATE SET value = excluded.value, is_sealed = excluded.is_sealed, updated_at = excluded.updated_at
            """
        )
    }

    func removeSetting(_ key: String) throws {
        try execute("DELETE FROM settings WHERE key = \(key)")
    }
}
