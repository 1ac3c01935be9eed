import OrderedCollections
import Storage

extension Transaction {
    func user(_ id: UserID) throws -> User? {
        try one("SELECT * FROM users WHERE id = \(id)").map(User.init)
    }

    func user(_ id: UserID, in collection: CollectionID) throws -> User? {
        try one("SELECT * FROM users WHERE id = \(id) AND collection_id = \(collection)").map(User.init)
    }

    /// The account that a sign-in name means; an email can't be a username, so there is at most one.
    func user(named name: SignInName, in collection: CollectionID) throws -> User? {
        if let email = name.emailFolded {
            try one("SELECT * FROM users WHERE collection_id = \(collection) AND email_folded = \(email)").map(
                User.init
            )
        } else if let username = name.usernameFolded {
            try one("SELECT * FROM users WHERE collection_id = \(collection) AND username_folded = \(username)").map(
                User.init
            )
        } else {
            nil
        }
    }

    /// Throws `email_taken`, `username_taken` or `value_taken`.
    func insertUser(_ user: User, schema: FieldSchema) throws {
        try refusingTaken {
            try execute(
                """
                INSERT INTO users
                    (id, collection_id, kind, status, email, email_folded, username, username_folded, email_verified, anonymous,
                    data, created_at, updated_at)
                VALUES (\(user.id), \(user.collectionID), \(user.kind), \(user.status), \(user.email),
                    \(user.email?.folded), \(user.username), \(user.username?.folded), \(user.isEmailVerified),
                    \(user.isAnonymous), \(JSON.object(user.data).serialized), \(user.createdAt), \(user.updatedAt))
                """
            )
        }
        try putUniqueValues(of: user, schema: schema)
    }

    /// Replaces what can change of a user.
    ///
    /// Throws like ``insertUser(_:schema:)``.
    func updateUser(_ user: User, schema: FieldSchema) throws {
        announce(Topic.user(user.id))
        try refusingTaken {
            try execute(
                """
                UPDATE users SET status = \(user.status), email = \(user.email), email_folded = \(user.email?.folded),
                    username = \(user.username), username_folded = \(user.username?.folded),
                    \(Self.verifiedSince(user.email, at: user.updatedAt)), email_verified = \(user.isEmailVerified), anonymous = \(user.isAnonymous), pending_email = \(user.pendingEmail), data = \(JSON.object(user.data).serialized),
                    updated_at = \(user.updatedAt)
                WHERE id = \(user.id)
                """
            )
        }
        try execute("DELETE FROM unique_values WHERE user_id = \(user.id)")
        try putUniqueValues(of: user, schema: schema)
    }

    func noteSignIn(of user: UserID, at now: Timestamp) throws {
        announce(Topic.user(user))
        try execute("UPDATE users SET last_login_at = \(now) WHERE id = \(user)")
    }

    /// Notes that the user reads mail at this email; false when it isn't theirs any more.
    @discardableResult
    func verifyEmail(_ email: String, of user: UserID, at now: Timestamp) throws -> Bool {
        announce(Topic.user(user))
        return try execute(
            """
            UPDATE users SET \(Self.verifiedSince(email, at: now)), email_verified = \(true), updated_at = \(now)
            WHERE id = \(user) AND email_folded = \(email.folded)
            """
        ) == 1
    }

    /// Keeps the time when it was verified already.
    private static func verifiedSince(_ email: String?, at now: Timestamp) -> SQL {
        """
        email_verified_at = CASE WHEN email_verified AND email_folded = \(email?.folded) THEN email_verified_at ELSE \(now) END
        """
    }

    func putPendingEmail(_ email: EmailAddress, of user: UserID) throws {
        announce(Topic.user(user))
        try execute("UPDATE users SET pending_email = \(email.text) WHERE id = \(user)")
    }

    func dropPendingEmail(of user: UserID) throws {
        announce(Topic.user(user))
        try execute("UPDATE users SET pending_email = NULL WHERE id = \(user)")
    }

    /// Moves the user to an email that was confirmed from there.
    ///
    /// Throws `email_taken`.
    func putConfirmedEmail(_ email: String, of user: UserID, at now: Timestamp) throws {
        announce(Topic.user(user))
        try refusingTaken {
            try execute(
                """
                UPDATE users SET email = \(email), email_folded = \(email.folded),
                    \(Self.verifiedSince(email, at: now)), email_verified = \(true), pending_email = NULL, updated_at = \(now)
                WHERE id = \(user)
                """
            )
        }
    }

    /// Removes the account and what belongs to it; PostgreSQL has no foreign keys that would.
    ///
    /// Its sessions stay as ended, so that its tokens say why.
    func deleteUser(_ id: UserID, at now: Timestamp) throws -> Bool {
        announce(Topic.user(id))
        try endSessions(of: id, because: .deleted, at: now)
        try execute("DELETE FROM secrets WHERE user_id = \(id)")
        try execute("DELETE FROM identities WHERE user_id = \(id)")
        try execute("DELETE FROM unique_values WHERE user_id = \(id)")
        try execute("DELETE FROM one_time_tokens WHERE subject_id = \(id)")
        try execute("DELETE FROM outbox WHERE user_id = \(id)")
        return try execute("DELETE FROM users WHERE id = \(id)") == 1
    }

    func countUsers(in collection: CollectionID, where condition: SQL = "TRUE") throws -> Int {
        try one("SELECT count(*) AS count FROM users WHERE collection_id = \(collection) AND \(condition)")?.get(
            "count"
        ) ?? 0
    }

    /// The accounts of a collection that were made first, up to `count`.
    func oldestUsers(in collection: CollectionID, count: Int) throws -> [UserID] {
        try all(
            "SELECT id FROM users WHERE collection_id = \(collection) ORDER BY created_at, id LIMIT \(count)"
        ).map { try $0.get("id") }
    }

    /// The accounts behind a place, up to `count`, as far as unique values go.
    func users(in collection: CollectionID, after place: UserPlace, count: Int) throws -> [(
        place: UserPlace, data: String
    )] {
        try all(
            """
            SELECT id, created_at, data FROM users
            WHERE collection_id = \(collection) AND (created_at, id) > (\(place.createdAt), \(place.id))
            ORDER BY created_at, id LIMIT \(count)
            """
        ).map { row in
            (UserPlace(createdAt: try row.get("created_at"), id: try row.get("id")), try row.get("data"))
        }
    }

    /// Notes a value as a user's; false when it is another's.
    func claimUniqueValue(_ key: String, of field: String, in collection: CollectionID, for user: String) throws -> Bool
    {
        try execute(
            """
            INSERT INTO unique_values (collection_id, field, value, user_id)
            VALUES (\(collection), \(field), \(key), \(user))
            ON CONFLICT (collection_id, field, value) DO UPDATE SET user_id = excluded.user_id
                WHERE unique_values.user_id = excluded.user_id
            """
        ) == 1
    }

    /// Forgets the values of a field, up to `count`, and tells how many.
    func dropUniqueValues(of field: String, in collection: CollectionID, count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM unique_values WHERE collection_id = \(collection) AND field = \(field) AND value IN (
                SELECT value FROM unique_values WHERE collection_id = \(collection) AND field = \(field) LIMIT \(count)
            )
            """
        )
    }

    /// Throws `username_taken` or `value_taken` as ``insertUser(_:schema:)`` would if the email were free.
    func checkNothingElseTaken(by user: User, schema: FieldSchema) throws {
        if let username = user.username {
            let name = SignInName(kind: .username, text: username)
            guard try self.user(named: name, in: user.collectionID) == nil else {
                throw AuthError(.usernameTaken, details: ["username": "is already taken"])
            }
        }
        for field in schema.own where field.isUnique {
            guard let value = user.data[field.name] else { continue }
            let taken = try one(
                """
                SELECT user_id FROM unique_values WHERE collection_id = \(user.collectionID) AND field = \(field.name)
                    AND value = \(field.uniqueKey(of: value))
                """
            )
            guard taken == nil else { throw AuthError(.valueTaken, details: [field.name: "is already taken"]) }
        }
    }

    private func putUniqueValues(of user: User, schema: FieldSchema) throws {
        for field in schema.own where field.isUnique {
            guard let value = user.data[field.name] else { continue }
            do {
                try execute(
                    """
                    INSERT INTO unique_values (collection_id, field, value, user_id)
                    VALUES (\(user.collectionID), \(field.name), \(field.uniqueKey(of: value)), \(user.id))
                    """
                )
            } catch DatabaseError.unique {
                throw AuthError(.valueTaken, details: [field.name: "is already taken"])
            }
        }
    }

    /// The constraint decides, not a look beforehand: of two registrations at once, one is refused.
    private func refusingTaken(_ write: () throws -> Void) throws {
        do {
            try write()
        } catch DatabaseError.unique("users_collection_id_email_folded") {
            throw AuthError(.emailTaken, details: ["email": "is already taken"])
        } catch DatabaseError.unique("users_collection_id_username_folded") {
            throw AuthError(.usernameTaken, details: ["username": "is already taken"])
        }
    }
}

/// Where a walk over the accounts of a collection stands, the oldest first.
struct UserPlace: Sendable {
    let createdAt: Timestamp
    let id: String

    static let start = UserPlace(createdAt: Timestamp(milliseconds: .min), id: "")
}

extension User {
    init(_ row: Row) throws {
        guard case .object(let data)? = JSON(stored: try row.get("data", as: String.self)) else {
            throw DatabaseError.unreadable("data")
        }
        self.init(
            id: try row.get("id"),
            collectionID: try row.get("collection_id"),
            kind: try row.get("kind"),
            status: try row.get("status"),
            email: try row.get("email"),
            username: try row.get("username"),
            isEmailVerified: try row.get("email_verified"),
            emailVerifiedAt: try row.get("email_verified_at"),
            pendingEmail: try row.get("pending_email"),
            isAnonymous: try row.get("anonymous"),
            isMFAEnabled: try row.get("mfa_enabled"),
            data: data,
            createdAt: try row.get("created_at"),
            updatedAt: try row.get("updated_at"),
            lastLoginAt: try row.get("last_login_at")
        )
    }
}
