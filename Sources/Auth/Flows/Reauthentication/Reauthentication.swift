import Storage

/// Showing again that one is still oneself, before something that can't be taken back.
struct Reauthentication: Sendable {
    let services: Services
    let passwords: Passwords
    let factors: SecondFactors

    /// Throws `reauthentication_required` unless the caller's session is fresh, or the request brings a second factor in
    /// the header `X-MFA-Code`, which it spends; `session_required` for an API key, `forbidden` for guests and impersonating
    /// admins.
    func check(_ principal: Principal, factor: SecondFactors.Factor?, from client: Client) async throws {
        _ = try principal.signedInSession()
        guard principal.impersonator == nil else {
            throw AuthError(.forbidden, "An admin who acts as somebody else can't do this.")
        }
        guard !principal.user.isAnonymous else {
            throw AuthError(.forbidden, "A guest can't do this: make it a real account first, by promote.")
        }
        if principal.isFresh(at: services.clock.now()) { return }
        if let factor, principal.user.isMFAEnabled {
            return try await factors.spend(factor, by: principal, from: client) { [self] tx in
                try audit([factor.method], of: principal, from: client, tx)
            }
        }
        throw AuthError(
            .reauthenticationRequired,
            details: [
                "max_age_seconds": String(Principal.freshSeconds),
                "methods": principal.user.isMFAEnabled ? "code, recovery_code" : "password",
                "how": principal.user.isMFAEnabled
                    ? "send a code in the header X-MFA-Code, or POST it to /api/auth/reauthenticate"
                    : "POST the password to /api/auth/reauthenticate, or log in again",
            ]
        )
    }

    /// Makes the caller's session fresh by the password; not enough for who has a second factor.
    ///
    /// Throws `invalid_credentials`, `locked_out`, `validation_failed`, `session_required`.
    func renew(_ principal: Principal, by password: Secret<String>, from client: Client) async throws {
        _ = try principal.signedInSession()
        guard !principal.user.isMFAEnabled else {
            throw AuthError.validation(["code": "is required (or recovery_code)"])
        }
        try await passwords.prove(password, by: principal, from: client)
        try await strengthen(principal, by: .password, from: client)
    }

    /// Makes the caller's session fresh by the second factor.
    ///
    /// Throws `mfa_not_set_up`, `invalid_credentials`, `locked_out`, `session_required`.
    func renew(_ principal: Principal, by factor: SecondFactors.Factor, from client: Client) async throws {
        let change = try strengthening(principal, by: factor.method, from: client)
        try await factors.spend(factor, by: principal, from: client, change)
    }

    private func strengthen(_ principal: Principal, by method: Proof.Method, from client: Client) async throws {
        let change = try strengthening(principal, by: method, from: client)
        try await services.write(as: principal.actor(from: client), change)
    }

    private func strengthening(_ principal: Principal, by method: Proof.Method, from client: Client) throws
        -> @Sendable (Transaction) throws -> Void
    {
        let now = services.clock.now()
        let session = try principal.signedInSession()
        let methods = session.methods.adding(method, isSecond: principal.user.isMFAEnabled)
        return { [self] tx in
            try tx.strengthenSession(session.id, to: methods, at: now)
            try audit(methods, of: principal, from: client, tx)
        }
    }

    private func audit(_ methods: [Proof.Method], of principal: Principal, from client: Client, _ tx: Transaction)
        throws
    {
        let details: AuditDetails = ["methods": .list(methods.map(\.rawValue))]
        try tx.audit(
            .reauthenticated,
            by: principal.actor(from: client),
            on: principal.user.id,
            details: details,
            services
        )
    }
}
