import Storage

extension Schema {
    /// Accounts at providers that users sign in by.
    ///
    /// A provider's subject belongs to one user of a collection, and a user has one subject a provider and realm: the issuer
    /// or host, where a provider's name can come to mean another.
    static let oauth = Migration(
        9,
        "oauth",
        """
        CREATE TABLE identities (
            id TEXT NOT NULL PRIMARY KEY,
            collection_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            provider TEXT NOT NULL,
            realm TEXT NOT NULL,
            subject TEXT NOT NULL,
            email TEXT,
            created_at {int} NOT NULL,
            last_used_at {int} NOT NULL,
            UNIQUE (collection_id, provider, realm, subject),
            UNIQUE (user_id, provider, realm)
        ){strict}
        """
    )
}
