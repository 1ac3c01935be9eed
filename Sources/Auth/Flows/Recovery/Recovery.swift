import Storage

/// Getting back into an account whose password, or whose second factor and codes, are lost (seed 003).
///
/// The token is redeemed by ``PasswordReset/confirm(_:_:in:from:)``.
struct Recovery: Sendable {
    let services: Services

    /// Mails a link to the account with this id, username or email, if there is one.
    ///
    /// The answer and the work are the same when there is none. Throws `mail_not_configured`.
    func request(_ name: String, in collection: Collection, from client: Client) async throws {
        let id = UserID(rawValue: name) ?? UserID(at: services.clock.now(), random: services.random)
        let signInName = SignInName(kind: .identity, text: name)
        let actor = Actor(id: nil, client: client)
        try await services.outbox().request(.recover, as: .recoveryRequested, in: collection, by: actor) { tx in
            // Both are looked up, whichever it is: the same work.
            let byID = try tx.user(id, in: collection.id)
            let byName = try tx.user(named: signInName, in: collection.id)
            return byID ?? byName
        }
    }
}
