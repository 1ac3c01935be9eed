import Storage

/// What is kept between sending somebody to a provider and their coming back, under OAuth's `state`.
struct OAuthState: Sendable {
    static let textBytesMax = 1024

    let provider: String
    /// Where the application wants to be called back.
    let redirectURI: String
    /// What the provider was told, where that is this server's own landing.
    let landingURI: String?
    let pkce: PKCE
    /// Of an ID token; nil for a provider without them.
    let nonce: String?
    /// Who began it signed in: to link another provider to their account, or as a guest.
    var user: UserID?

    /// What somebody comes back for.
    enum Purpose: Sendable {
        case signIn(guest: UserID?)
        case connect(UserID)

        fileprivate func fits(_ state: OAuthState) -> Bool {
            switch self {
            case .signIn(let guest): state.user == nil || state.user == guest
            case .connect(let user): state.user == user
            }
        }
    }

    /// Who keeps the verifier of PKCE (RFC 7636).
    enum PKCE: Sendable, Equatable {
        case none
        /// This server.
        case server(verifier: String)
        /// The application, which has sent the challenge.
        case client

        var name: String {
            switch self {
            case .none: "none"
            case .server: "server"
            case .client: "client"
            }
        }
    }

    /// What the authorization request and the token request name alike.
    var providerRedirectURI: String { landingURI ?? redirectURI }

    fileprivate var payload: String {
        let verifier: String? = if case .server(let verifier) = pkce { verifier } else { nil }
        let json: JSON = [
            "provider": .string(provider), "redirect_uri": .string(redirectURI), "landing_uri": .optional(landingURI),
            "pkce": .string(pkce.name), "verifier": .optional(verifier), "nonce": .optional(nonce),
        ]
        return json.serialized
    }

    fileprivate init?(payload: String, user: UserID?) {
        guard let json = JSON(stored: payload), let provider = json["provider"]?.text,
            let redirectURI = json["redirect_uri"]?.text
        else { return nil }
        self.provider = provider
        self.redirectURI = redirectURI
        landingURI = json["landing_uri"]?.text
        nonce = json["nonce"]?.text
        self.user = user
        switch (json["pkce"]?.text, json["verifier"]?.text) {
        case ("server", let verifier?): pkce = .server(verifier: verifier)
        case ("client", _): pkce = .client
        case ("none", _): pkce = .none
        default: return nil
        }
    }

    init(provider: String, redirectURI: String, landingURI: String?, pkce: PKCE, nonce: String?, user: UserID?) {
        self.provider = provider
        self.redirectURI = redirectURI
        self.landingURI = landingURI
        self.pkce = pkce
        self.nonce = nonce
        self.user = user
    }
}

/// Keeps states: in the one store of one-time tokens, sealed, for ten minutes.
struct OAuthStates: Sendable {
    let services: Services

    /// Throws `validation_failed` for a state that was used before.
    func keep(_ state: OAuthState, as text: String, in collection: Collection) async throws {
        let token = OneTimeToken(chosen: text, for: .oauthState, in: collection.id)
        let sealed = try services.sealingKey.seal(state.payload, place: Self.place(token), random: services.random)
        let now = services.clock.now()
        let subject: OneTimeSubject = state.user.map { .user($0) } ?? .server
        let isNew = try await services.db.write { tx in
            try tx.claimOneTimeToken(token, for: .oauthState, of: subject, payload: sealed, at: now)
        }
        if !isNew { throw AuthError.validation(["state": "was used before: make a new random one for every sign-in"]) }
    }

    /// The state, once.
    ///
    /// Throws `invalid_oauth_state` for one that is unknown, spent or expired, and for another provider, address, purpose or person
    /// than it was kept for; it is spent then too.
    func redeem(
        _ text: String,
        of provider: String,
        redirectURI: String,
        to purpose: OAuthState.Purpose,
        in collection: Collection
    ) async throws -> OAuthState {
        let token = OneTimeToken(chosen: text, for: .oauthState, in: collection.id)
        let now = services.clock.now()
        let grant = try await services.db.write { tx in
            try tx.redeemOneTimeToken(token, for: [.oauthState], at: now)
        }
        guard let state = grant.flatMap({ open($0, token) }), state.provider == provider,
            state.redirectURI == redirectURI, purpose.fits(state)
        else { throw AuthError(.invalidOAuthState) }
        return state
    }

    /// The state, without using it up; nil when it is not live.
    func look(at text: String, in collection: Collection) async throws -> OAuthState? {
        let token = OneTimeToken(chosen: text, for: .oauthState, in: collection.id)
        let now = services.clock.now()
        let grant = try await services.db.read { tx in
            try tx.liveOneTimeToken(token, for: [.oauthState], at: now)
        }
        return grant.flatMap { open($0, token) }
    }

    private func open(_ grant: OneTimeGrant, _ token: OneTimeToken) -> OAuthState? {
        let payload = grant.payload.flatMap { services.sealingKey.open($0, place: Self.place(token)) }
        return payload.flatMap { OAuthState(payload: $0.reveal(), user: grant.subject) }
    }

    private static func place(_ token: OneTimeToken) -> String {
        "oauth_state:\(Base64URL.encode(token.digest.bytes))"
    }
}
