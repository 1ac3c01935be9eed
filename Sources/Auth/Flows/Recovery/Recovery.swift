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
        let outbox = try await services.outbox()
        let id = UserID(rawValue: name) ?? UserID(at: services.clock.now(), random: services.random)
        let signInName = SignInName(kind: .identity, text: name)
        let user = try await outbox.addressee(of: .recover) { tx in
            // Both are looked up, whichever it is: the same work.
            let (byID, byName) = (
                try tx.user(id, in: collection.id), try tx.user(named: signInName, in: collection.id)
            )
            return byID ?? byName
        }
        try await services.db.write { [services] tx in
            try outbox.mailToken(.recover, to: user, in: collection, tx)
            try tx.audit(
                .recoveryRequested,
                by: Actor(id: nil, client: client),
                on: user?.id,
                outcome: user == nil ? .failure : .success,
                services
            )
        }
    }
}
