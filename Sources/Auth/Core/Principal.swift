/// Who a request acts as, by whatever credential it came.
struct Principal: Sendable {
    let user: User
    let collection: Collection
    let session: Session
    let claims: SessionClaims

    var isAdmin: Bool { collection.isAdmins && claims.audience == .admin }

    /// A proof is fresh for so long.
    static let freshSeconds: Int64 = 600

    /// Whether they have proved who they are a short while ago, at the highest level that they have: with the second
    /// factor, if there is one.
    func isFresh(at now: Timestamp) -> Bool {
        now.seconds(since: session.provedAt) < Self.freshSeconds
            && (!user.isMFAEnabled || session.methods.contains(.multiFactor))
    }

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
