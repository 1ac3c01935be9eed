import OrderedCollections
import Storage

/// Signing in by a provider: where to send somebody, and what to do when they come back.
struct OAuth: Sendable {
    let services: Services
    let exchanges: OAuthExchange
    let signIns: OAuthSignIn
    let states: OAuthStates

    /// The providers that are switched on and set up.
    func providers() async throws -> [OAuthProvider] {
        OAuthClient.all(try await services.settings()).map(\.provider)
    }

    /// By the names of the providers, whether they are on or not.
    func displayNames() async throws -> [String: String] {
        let settings = try await services.settings()
        return Dictionary(
            uniqueKeysWithValues: OAuthClient.names(settings).map { ($0, OAuthClient.displayName(of: $0, settings)) }
        )
    }

    // MARK: Going there

    /// What an application asks for.
    struct Wish: Sendable {
        let provider: String
        let redirectURI: String
        var state: String?
        var usesPKCE = false
        /// PKCE's, when the application keeps the verifier.
        var challenge: String?
        /// The provider posts its answer to this server (Apple's `form_post`).
        var usesLanding = false
    }

    struct Authorization: Sendable {
        let url: String
        let pkce: OAuthState.PKCE
        let state: String
    }

    /// Where to send the browser; `user` is who links a provider to their account, or a guest.
    ///
    /// Throws `provider_disabled`, `validation_failed`, `provider_failed`.
    func authorize(_ wish: Wish, in collection: Collection, for user: UserID? = nil) async throws -> Authorization {
        let settings = try await services.settings()
        let client = try OAuthClient.named(wish.provider, settings)
        let pkce: OAuthState.PKCE =
            if wish.challenge != nil { .client } else if wish.usesPKCE || client.provider.needsPKCE {
                .server(verifier: Base64URL.encode(services.random.bytes(32)))
            } else { .none }
        try check(wish, client, pkce)
        let landing = wish.usesLanding ? try landing(for: client, collection, settings) : nil
        let provider = try await exchanges.discovered(client)
        let state = wish.state ?? Base64URL.encode(services.random.bytes(24))
        let kept = OAuthState(
            provider: wish.provider,
            redirectURI: wish.redirectURI,
            landingURI: landing,
            pkce: pkce,
            nonce: provider.sendsNonce ? Base64URL.encode(services.random.bytes(16)) : nil,
            user: user
        )
        try await states.keep(kept, as: state, in: collection)
        return Authorization(
            url: Self.url(provider, client, kept, state: state, challenge: wish.challenge),
            pkce: pkce,
            state: state
        )
    }

    private func check(_ wish: Wish, _ client: OAuthClient, _ pkce: OAuthState.PKCE) throws {
        var problems: [String: String] = [:]
        problems["redirectUri"] = client.redirects.problem(with: wish.redirectURI)
        if wish.state == nil, case .server = pkce {
            problems["state"] = "is required with PKCE by the server: make a random one for every sign-in"
        }
        if let challenge = wish.challenge, challenge.wholeMatch(of: /[A-Za-z0-9_-]{43}/) == nil {
            problems["code_challenge"] = "must be the base64url of a SHA-256 digest, 43 characters"
        }
        guard problems.isEmpty else { throw AuthError.validation(problems) }
    }

    /// The provider sees this server's own address only, so its list of redirect URIs keeps nobody from being led elsewhere with a
    /// code: ours must.
    private func landing(for client: OAuthClient, _ collection: Collection, _ settings: Settings) throws -> String {
        let provider = client.provider.name
        let base = settings.text("app.url")
        guard client.provider.answersByPost else {
            throw AuthError.validation(["landing": "is for providers that answer by a POST"])
        }
        guard !client.redirects.isOpen else {
            throw AuthError.validation(["landing": "needs the setting oauth2.allowed_redirect_uris"])
        }
        guard !base.isEmpty else {
            throw AuthError.validation(["landing": "needs the setting app.url, under which this server is reached"])
        }
        return
            "\(base.hasSuffix("/") ? String(base.dropLast()) : base)/api/auth/\(collection.name)/oauth2/\(provider)/landing"
    }

    private static func url(
        _ provider: OAuthProvider,
        _ client: OAuthClient,
        _ kept: OAuthState,
        state: String,
        challenge: String?
    ) -> String {
        var parameters = [
            ("response_type", "code"), ("client_id", client.clientID), ("redirect_uri", kept.providerRedirectURI),
        ]
        if !provider.scopes.isEmpty { parameters.append(("scope", provider.scopes.joined(separator: " "))) }
        parameters.append(("state", state))
        if let nonce = kept.nonce { parameters.append(("nonce", nonce)) }
        let ours: String? =
            if case .server(let verifier) = kept.pkce { Base64URL.encode(Digest(of: verifier).bytes) } else { nil }
        if let challenge = challenge ?? ours {
            parameters += [("code_challenge", challenge), ("code_challenge_method", "S256")]
        }
        return FormEncoding.append(parameters + provider.parameters, to: provider.authorizationURL)
    }

    /// Where a browser goes on to that a provider has made post its answer here: to the application, with what was posted.
    ///
    /// Throws `invalid_oauth_state`, `provider_disabled`.
    func landing(_ posted: [(String, String)], state: String, of provider: String, in collection: Collection)
        async throws -> String
    {
        let client = try OAuthClient.named(provider, try await services.settings())
        guard let kept = try await states.look(at: state, in: collection), kept.provider == provider,
            kept.landingURI != nil, !client.redirects.isOpen, client.redirects.problem(with: kept.redirectURI) == nil
        else { throw AuthError(.invalidOAuthState) }
        return FormEncoding.append(posted + [("state", state)], to: kept.redirectURI)
    }

    // MARK: Coming back

    /// What an application got by way of the browser.
    struct Return: Sendable {
        let provider: String
        let code: Secret<String>
        let redirectURI: String
        var state: String?
        var verifier: Secret<String>?
        /// Who has sent the browser back, by their own word (RFC 9207).
        var issuer: String?
    }

    /// Who has come back, and who had begun that, as far as the state tells.
    ///
    /// A state that was sent is spent, whatever comes of it. Throws `provider_disabled`, `validation_failed`,
    /// `invalid_oauth_state`, and like ``OAuthExchange/profile(by:of:)``.
    func profile(of back: Return, to purpose: OAuthState.Purpose, in collection: Collection) async throws -> (
        OAuthProfile, OAuthClient, begunBy: UserID?
    ) {
        let client = try OAuthClient.named(back.provider, try await services.settings())
        if let problem = client.redirects.problem(with: back.redirectURI) {
            throw AuthError.validation(["redirectUri": problem])
        }
        // Another provider's code must not be shown to this one (mix-up, RFC 9700 §4.4).
        guard back.issuer.map(client.provider.mayBe) ?? true else { throw AuthError(.invalidOAuthState) }
        var kept: OAuthState?
        if let text = back.state {
            kept = try await states.redeem(
                text,
                of: back.provider,
                redirectURI: back.redirectURI,
                to: purpose,
                in: collection
            )
        }
        let code = OAuthExchange.Code(
            text: back.code,
            redirectURI: kept?.providerRedirectURI ?? back.redirectURI,
            verifier: try Self.verifier(back, kept, client.provider),
            nonce: kept?.nonce
        )
        return (try await exchanges.profile(by: code, of: client), client, kept?.user)
    }

    private static func verifier(_ back: Return, _ kept: OAuthState?, _ provider: OAuthProvider) throws
        -> Secret<String>?
    {
        switch (kept?.pkce, back.verifier) {
        case (.server?, _?): throw AuthError.validation(["code_verifier": "can't be sent: this server keeps it"])
        case (.server(let verifier)?, nil): return Secret(verifier)
        case (.client?, nil): throw AuthError.validation(["code_verifier": "is required"])
        case (nil, nil) where provider.needsPKCE:
            throw AuthError.validation(["state": "is required, as it was sent to authorize"])
        case (_, let verifier): return verifier
        }
    }

    /// What somebody shows to sign in.
    enum Showing: Sendable {
        case code(Return)
        /// From the provider itself, as mobile applications get it; each is good once.
        case idToken(Secret<String>, nonce: String, of: String)

        var provider: String {
            switch self {
            case .code(let back): back.provider
            case .idToken(_, nonce: _, of: let provider): provider
            }
        }

        /// Without the signature, which has more than one spelling (ECDSA).
        fileprivate var spent: OneTimeToken? {
            guard case .idToken(let token, nonce: _, of: _) = self else { return nil }
            let signed = token.reveal().split(separator: ".").dropLast().joined(separator: ".")
            return OneTimeToken(chosen: signed, for: .idToken)
        }
    }

    /// Signs in who has come back from a provider.
    ///
    /// `record` and `guest` are for a new account (``OAuthSignIn/Arrival``). Throws like ``OAuthSignIn/begin(_:)``,
    /// ``profile(of:to:in:)``, and ``OAuthExchange/profile(byIDToken:nonce:of:)``.
    func exchange(
        _ showing: Showing,
        in collection: Collection,
        from client: Client,
        as wish: TokenWish,
        record: JSON.Members,
        guest: Principal?
    ) async throws -> OAuthOutcome {
        try await auditing(showing.provider, from: client) {
            let (profile, provider, guest) = try await profile(shown: showing, by: guest, in: collection)
            return try await signIns.begin(
                OAuthSignIn.Arrival(
                    profile: profile,
                    provider: provider,
                    collection: collection,
                    client: client,
                    wish: wish,
                    record: record,
                    guest: guest,
                    spent: showing.spent
                )
            )
        }
    }

    /// The guest only if they have begun it: else a code that somebody has led to their browser would give their account away
    /// (RFC 9700 §4.7).
    private func profile(shown showing: Showing, by guest: Principal?, in collection: Collection) async throws -> (
        OAuthProfile, OAuthClient, Principal?
    ) {
        switch showing {
        case .code(let back):
            let purpose = OAuthState.Purpose.signIn(guest: guest?.user.id)
            let (profile, client, begunBy) = try await profile(of: back, to: purpose, in: collection)
            return (profile, client, begunBy == nil ? nil : guest)
        case .idToken(let token, let nonce, let name):
            let client = try OAuthClient.named(name, try await services.settings())
            let profile = try await exchanges.profile(byIDToken: token.reveal(), nonce: nonce, of: client)
            return (profile, client, guest)
        }
    }

    // MARK: Failures

    /// Tells the audit log of a sign-in that fails before there is anybody to be signed in.
    private func auditing<T: Sendable>(_ provider: String, from client: Client, _ signIn: () async throws -> T)
        async throws -> T
    {
        do {
            return try await signIn()
        } catch let error as AuthError where Self.audited.contains(error.code) {
            let details: AuditDetails = ["provider": .string(provider), "reason": .string(error.code.rawValue)]
            let actor = Actor(id: nil, client: client)
            try await services.db.write { [services] tx in
                try tx.audit(.signInFailed, by: actor, on: nil, outcome: .failure, details: details, services)
            }
            throw error
        }
    }

    private static let audited: Set<AuthError.Code> = [
        .emailTaken, .invalidIDToken, .invalidOAuthState, .oauthProfileIncomplete, .oauthRefused,
        .providerAlreadyLinked, .providerFailed,
    ]
}
