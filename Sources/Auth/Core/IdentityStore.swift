import Storage

extension Transaction {
    func identity(_ provider: String, _ realm: String, _ subject: String, in collection: CollectionID) throws
        -> Identity?
    {
        try one(
            """
            SELECT * FROM identities WHERE collection_id = \(collection) AND provider = \(provider) AND realm = \(realm)
                AND subject = \(subject)
            """
        ).map(Identity.init)
    }

    /// Oldest first.
    func identities(of user: UserID) throws -> [Identity] {
        try all("SELECT * FROM identities WHERE user_id = \(user) ORDER BY created_at, id").map(Identity.init)
    }

    func countIdentities(of user: UserID) throws -> Int {
        try one("SELECT count(*) AS count FROM identities WHERE user_id = \(user)")?.get("count") ?? 0
    }

    /// Throws ``DatabaseError/unique(_:)`` when the subject is somebody's, or the user has another one of the provider
    /// and realm.
    func insertIdentity(_ identity: Identity) throws {
        try execute(
            """
            INSERT INTO identities
                (id, collection_id, user_id, provider, realm, subject, email, created_at, last_used_at)
            VALUES (\(identity.id), \(identity.collectionID), \(identity.userID), \(identity.provider), \(identity.realm),
                \(identity.subject), \(identity.email), \(identity.createdAt), \(identity.lastUsedAt))
            """
        )
    }

    func noteIdentityUsed(_ id: IdentityID, email: String?, at now: Timestamp) throws {
        try execute("UPDATE identities SET last_used_at = \(now), email = \(email) WHERE id = \(id)")
    }

    /// Those of the provider, of whatever realm.
    func removeIdentities(_ provider: String, of user: UserID) throws -> [Identity] {
        try all("DELETE FROM identities WHERE user_id = \(user) AND provider = \(provider) RETURNING *").map(
            Identity.init
        )
    }
}

extension Identity {
    init(_ row: Row) throws {
        self.init(
            id: try row.get("id"),
            collectionID: try row.get("collection_id"),
            userID: try row.get("user_id"),
            provider: try row.get("provider"),
            realm: try row.get("realm"),
            subject: try row.get("subject"),
            email: try row.get("email"),
            createdAt: try row.get("created_at"),
            lastUsedAt: try row.get("last_used_at")
        )
    }
}
