import OrderedCollections
import Storage

/// A credential of a user, as lists tell it: never the value (seed 003).
struct UserSecret: Sendable {
    let id: SecretID
    let userID: UserID
    let type: SecretType
    let name: String?
    let createdAt: Timestamp
    let lastUsedAt: Timestamp?
    /// API keys only.
    let expiresAt: Timestamp?
    /// What an API key is narrowed to; nil when it isn't.
    let scopes: [Permission]?
    /// Replaced by a reassignment.
    let isPrimary: Bool
    /// A second factor whose first code was never seen.
    let isPending: Bool
    /// The API key that has made this one; nil when a person has.
    var issuer: SecretID?

    static let nameCountMax = 100

    enum State: String, Sendable {
        case active
        /// Not confirmed yet.
        case pending
        /// A recovery code that is spent.
        case used
        case expired
    }

    func state(at now: Timestamp) -> State {
        if isPending { return .pending }
        if type == .backup && lastUsedAt != nil { return .used }
        return expiresAt.map { $0 <= now } == true ? .expired : .active
    }

    func json(at now: Timestamp) -> JSON {
        let json: JSON = [
            "id": .string(id.rawValue), "type": .string(type.rawValue), "name": .optional(name),
            "created_at": createdAt.json, "last_used_at": lastUsedAt?.json ?? .null,
            "expires_at": expiresAt?.json ?? .null, "state": .string(state(at: now).rawValue),
        ]
        guard type == .apikey else { return json }
        let scopes = self.scopes.map { JSON.array($0.map { .string($0.rawValue) }) }
        return json.merging(["scopes": scopes ?? .null, "primary": .bool(isPrimary)])
    }
}

typealias SecretID = Identifier<UserSecret>

/// The kinds of secrets (seed 003).
enum SecretType: String, CaseIterable, Sendable, SQLConvertible {
    case password
    /// For programs.
    case apikey
    /// The key of an authenticator.
    case mfa
    /// A recovery code.
    case backup
    /// Of a trusted device, in place of password and second factor.
    case device
}

extension UserSecret {
    /// About how many bytes it takes in a cache.
    var memoryBytes: Int {
        MemoryLayout<UserSecret>.stride + 3 * 80 + (name?.memoryBytes ?? 0) + (scopes?.count ?? 0) * 32
    }
}
