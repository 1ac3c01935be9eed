/// An account at a provider that a user signs in by (a federated identity).
struct Identity: Sendable {
    /// Of one user.
    static let countMax = 20

    let id: IdentityID
    let collectionID: CollectionID
    let userID: UserID
    /// The name of the provider, such as `google`.
    let provider: String
    /// The issuer or host, where the provider's name has come to mean another one than its own; else empty.
    let realm: String
    /// Who they are there.
    let subject: String
    /// The address that they have there.
    let email: String?
    let createdAt: Timestamp
    let lastUsedAt: Timestamp

    func isOf(_ provider: String, _ realm: String) -> Bool { self.provider == provider && self.realm == realm }
}

typealias IdentityID = Identifier<Identity>
