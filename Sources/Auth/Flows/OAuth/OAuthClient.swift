/// A provider as the settings have it: this server as its client.
struct OAuthClient: Sendable {
    let provider: OAuthProvider
    let clientID: String
    let clientSecret: Secret<String>
    let appleKey: AppleKey?
    /// Whose ID tokens are taken too: the ids of mobile applications.
    let nativeClientIDs: [String]
    let redirects: RedirectRules

    /// The names of everything that can be switched on, in the order in which it is shown.
    static func names(_ settings: Settings) -> [String] {
        OAuthProvider.builtIn.map(\.name) + ["oidc"] + settings.oidcInstances
    }

    /// Those that are switched on and complete.
    static func all(_ settings: Settings) -> [OAuthClient] {
        names(settings).compactMap { OAuthClient($0, settings) }
    }

    /// Throws `provider_disabled` for one that is unknown, off or incomplete.
    static func named(_ name: String, _ settings: Settings) throws -> OAuthClient {
        guard let client = OAuthClient(name, settings) else {
            throw AuthError(
                .providerDisabled,
                "Sign-in by \(name.isProviderName ? name : "this provider") is off or not set up. An admin can do that by the settings oauth2.<provider>.…"
            )
        }
        return client
    }

    static func displayName(of name: String, _ settings: Settings) -> String {
        let own = settings.text("oauth2.\(name).display_name")
        return own.isEmpty ? known[name]?.displayName ?? openID(name)?.displayName ?? name : own
    }

    private init?(_ name: String, _ settings: Settings) {
        guard name.isProviderName else { return nil }
        func text(_ key: String) -> String { settings.text("oauth2.\(name).\(key)") }
        guard settings.isOn("oauth2.\(name).enabled"), var provider = Self.known[name] ?? Self.openID(name) else {
            return nil
        }
        for (key, part) in [
            ("authorization_url", \OAuthProvider.authorizationURL), ("token_url", \.tokenURL),
            ("userinfo_url", \.userinfoURL), ("jwks_url", \.jwksURL), ("display_name", \.displayName),
        ] where !text(key).isEmpty {
            provider[keyPath: part] = text(key)
        }
        if !text("issuer").isEmpty { provider.issuers = [text("issuer")] }
        let scopes = text("scopes").split { $0 == " " || $0 == "," }.map(String.init)
        if !scopes.isEmpty { provider.scopes = scopes }
        if provider.clientAuthentication == .published,
            let chosen = OAuthProvider.ClientAuthentication(rawValue: text("client_authentication"))
        {
            provider.clientAuthentication = chosen
        }
        if provider.isDiscovered && provider.issuers.isEmpty {
            // Without an issuer no ID token can be believed: userinfo says who somebody is, as with plain OAuth2.
            provider.isDiscovered = false
            provider.idToken = .ignored
        }
        self.provider = provider
        clientID = text("client_id")
        clientSecret = Secret(text("client_secret"))
        appleKey = name == "apple" ? AppleKey(settings, clientID: clientID) : nil
        nativeClientIDs = text("native_client_ids").split(separator: ",").map(\.trimmed).filter { !$0.isEmpty }
        redirects = RedirectRules(text("allowed_redirect_uris"), settings.text("oauth2.allowed_redirect_uris"))
        guard isComplete else { return nil }
    }

    private var isComplete: Bool {
        guard !clientID.isEmpty, !clientSecret.reveal().isEmpty || appleKey != nil else { return false }
        return provider.isDiscovered && !provider.issuers.isEmpty
            || !provider.authorizationURL.isEmpty && !provider.tokenURL.isEmpty
                && (!provider.userinfoURL.isEmpty || provider.idToken == .required && !provider.jwksURL.isEmpty)
    }

    /// Whose an identity is beside the provider's name: another issuer, or another host in place of the provider's own, has
    /// other subjects.
    var realm: String {
        if provider.isDiscovered { return provider.issuers.first ?? "" }
        let urls = [provider.userinfoURL, provider.tokenURL].filter { !$0.isEmpty }
        guard let own = Self.known[provider.name] else { return String((urls.first ?? "").prefix { $0 != "?" }) }
        let hosts = [own.userinfoURL, own.tokenURL].map(\.urlAuthority)
        return urls.compactMap(\.urlAuthority).first { !hosts.contains($0) } ?? ""
    }

    private static let known = Dictionary(uniqueKeysWithValues: OAuthProvider.builtIn.map { ($0.name, $0) })

    private static func openID(_ name: String) -> OAuthProvider? {
        name == "oidc" || name.hasPrefix("oidc-") ? .openID(name) : nil
    }
}

extension String {
    /// What can stand in a setting's key, and so in a message.
    fileprivate var isProviderName: Bool { wholeMatch(of: /[a-z0-9]{1,32}(-[a-z0-9]{1,32})?/) != nil }
}
