import Storage

/// How the first admin comes to be: by a one-time token printed at the start, or from the command line on the server
/// itself.
struct SetUp: Sendable {
    let services: Services
    let accounts: Accounts

    func hasAdmin() async throws -> Bool {
        let admins = try await services.adminsCollection()
        return try await services.db.read { tx in try tx.countUsers(in: admins.id) > 0 }
    }

    /// A fresh token while there is no admin, else nil; the one before it dies.
    func issueToken() async throws -> OneTimeToken? {
        let admins = try await services.adminsCollection()
        let token = OneTimeToken(random: services.random)
        let now = services.clock.now()
        return try await services.db.write { tx in
            guard try tx.countUsers(in: admins.id) == 0 else { return nil }
            try tx.issueOneTimeToken(token, for: .setUp, of: .server, at: now)
            return token
        }
    }

    /// Makes the first admin with the printed token, and returns it.
    ///
    /// Throws `already_set_up`, `invalid_one_time_token`, `validation_failed`; the token stays good until it has made
    /// an admin.
    func createFirstAdmin(email: String, password: Secret<String>, token: String, from client: Client) async throws
        -> User
    {
        guard try await !hasAdmin() else { throw AuthError(.alreadySetUp) }
        let now = services.clock.now()
        // Looked at before anything is hashed; what counts is the redemption below.
        guard let token = OneTimeToken(parsing: token),
            try await services.db.read({ tx in try tx.liveOneTimeToken(token, for: [.setUp], at: now) }) != nil
        else { throw AuthError(.invalidOneTimeToken) }
        return try await accounts.createAdmin(
            email: email,
            password: password,
            event: .adminSetUp,
            by: Actor(id: nil, client: client)
        ) { [services] tx, admins in
            // In one transaction with the account: of two set-ups at once, one makes an admin.
            guard try tx.countUsers(in: admins) == 0 else { throw AuthError(.alreadySetUp) }
            guard try tx.redeemOneTimeToken(token, for: [.setUp], at: services.clock.now()) != nil else {
                throw AuthError(.invalidOneTimeToken)
            }
        }
    }
}
