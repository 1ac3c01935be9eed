import OrderedCollections
import Storage

/// An account of a collection: a person, or a background process ("system").
struct User: Sendable {
    let id: UserID
    let collectionID: CollectionID
    let kind: Kind
    let status: Status
    /// Nil for system users without one.
    let email: String?
    let username: String?
    let isEmailVerified: Bool
    /// When it was verified; nil when it was so from the start.
    var emailVerifiedAt: Timestamp?
    /// Takes the place of `email` when its owner confirms it from there.
    var pendingEmail: String?
    let isAnonymous: Bool
    /// Signs in with a second factor.
    var isMFAEnabled = false
    /// The collection's own fields.
    let data: JSON.Members
    let createdAt: Timestamp
    let updatedAt: Timestamp
    var lastLoginAt: Timestamp?

    enum Kind: String, Sendable, SQLConvertible, CaseIterable {
        case human
        case system
    }

    enum Status: String, Sendable, SQLConvertible, CaseIterable {
        case active
        /// Made but not yet let in.
        case pending
        case suspended
    }

    /// Keys of a record that clients can't set: they belong to the server.
    static let reservedKeys: Set<String> = [
        "id", "collection", "kind", "status", "email_verified", "verified", "anonymous", "mfa_enabled", "password",
        "password_hash",
        "tokens_valid_after", "groups", "permissions", "created_at", "updated_at", "last_login_at", "pending_email",
    ]

    /// Where mails to the account go, its own address unless another is given.
    ///
    /// Nil where none may: to system users, guests, and those who can't sign in.
    func addressee(at address: String? = nil) -> Addressee? {
        guard kind == .human, status == .active, !isAnonymous, let email else { return nil }
        return Addressee(id: id, email: address ?? email)
    }

    /// The record as clients see it.
    func record(in collection: Collection) -> JSON {
        let own: JSON = [
            "id": .string(id.rawValue), "collection": .string(collection.name), "kind": .string(kind.rawValue),
            "status": .string(status.rawValue), "email": .optional(email), "username": .optional(username),
            "email_verified": .bool(isEmailVerified), "pending_email": .optional(pendingEmail),
            "anonymous": .bool(isAnonymous), "mfa_enabled": .bool(isMFAEnabled), "created_at": createdAt.json,
            "updated_at": updatedAt.json, "last_login_at": lastLoginAt?.json ?? .null,
        ]
        return own.merging(data)
    }

    /// The same account, signed in at that time.
    func signedIn(at time: Timestamp) -> User {
        var user = self
        user.lastLoginAt = time
        return user
    }
}

extension User {
    /// About how many bytes it takes in a cache.
    var memoryBytes: Int {
        let texts = [email, username, pendingEmail].reduce(0) { $0 + ($1?.memoryBytes ?? 0) }
        return MemoryLayout<User>.stride + 2 * 80 + texts + JSON.object(data).memoryBytes
    }
}
