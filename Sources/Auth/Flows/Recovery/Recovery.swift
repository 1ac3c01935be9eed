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
        try await services.outbox().request(
            .recover,
            as: .recoveryRequested,
            to: .any(name),
            in: collection,
            by: Actor(id: nil, client: client)
        )
    }
}
