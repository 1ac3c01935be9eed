/// Who a request acts as, by whatever credential it came.
struct Principal: Sendable {
    let user: User
    let collection: Collection
    let session: Session
    let claims: SessionClaims

    var isAdmin: Bool { collection.isAdmins && claims.audience == .admin }

    /// As the audit log names whoever acts.
    func actor(from client: Client) -> Actor { Actor(id: user.id, session: session.id, client: client) }
}
