/// Who a request acts as, by whatever credential it came.
struct Principal: Sendable {
    let user: User
    let collection: Collection
    let session: Session
    let claims: SessionClaims

    var isAdmin: Bool { collection.isAdmins && claims.audience == .admin }

    /// Whether they must have a second factor and have none.
    ///
    /// Not while the feature is off: nobody could set one up.
    func mustEnrol(_ settings: Settings) -> Bool {
        guard !user.isMFAEnabled, user.kind == .human else { return false }
        return switch settings.mfaRequirement {
        case .off: collection.options.mfaRequired
        case .admins: collection.isAdmins || collection.options.mfaRequired
        case .all: true
        case .impossible: false
        }
    }

    /// As the audit log names whoever acts.
    func actor(from client: Client) -> Actor { Actor(id: user.id, session: session.id, client: client) }
}
