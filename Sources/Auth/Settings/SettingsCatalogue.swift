/// Every setting that there is: its key, its default, what it takes.
///
/// `docs/settings.md` is compared with it by a test.
struct SettingDefinition: Sendable {
    let key: String
    let kind: Kind
    /// Empty when the setting has no value until somebody sets one.
    let defaultValue: String

    enum Kind: Sendable {
        /// `1`/`true` is on, `0`/`false` is off.
        case flag
        /// Seconds, 60 to 365 days.
        ///
        /// Another value is stored, warned about, and the default used: a bad window never breaks sign-in.
        case window
        /// A whole number in the range.
        case count(ClosedRange<Int>)
        case choice([String])
        /// Text of at most that many bytes.
        case text(bytesMax: Int)
        /// Sealed at rest, never read back.
        case secret
        /// Of http or https, without a fragment.
        case endpointURL
        /// The same without a query, for paths to be put behind it.
        case baseURL
        /// Text on one line.
        case line(bytesMax: Int)
        case rateRules
        case addressRanges
        case origins
        case hosts
        /// Redirect URIs of OAuth clients, separated by commas or white space.
        case redirectURIs
        /// A host name or address.
        case host
        /// A sender: an email, with a name before it or without.
        case mailbox
        /// Mustache of at most that many bytes.
        case template(bytesMax: Int)
    }
}

/// A flow that can be switched off; its routes then answer 422.
enum Feature: String, CaseIterable, Sendable {
    case otp
    case mfa
    case anonymous
    case impersonation

    var key: String { "auth.\(rawValue).enabled" }

    var isOnByDefault: Bool {
        switch self {
        case .otp, .anonymous: false
        case .mfa, .impersonation: true
        }
    }

    /// As it reads in "… is disabled".
    var title: String {
        switch self {
        case .otp: "Sign-in by one-time code"
        case .mfa: "Multi-factor authentication"
        case .anonymous: "Anonymous sign-in"
        case .impersonation: "Impersonation"
        }
    }
}

/// How long tokens and sessions of a kind live.
enum Window: String, CaseIterable, Sendable {
    case user
    case admin
    case refresh
    case anonymous
    case impersonate
    case file
    case accessToken = "access_token"
    /// A session's end, however often it is refreshed.
    case session

    static let secondsMin = 60
    static let secondsMax = 365 * 86_400

    var key: String { self == .session ? "auth.session.absolute_seconds" : "auth.\(rawValue).window_seconds" }

    var defaultSeconds: Int {
        switch self {
        case .user, .admin, .refresh: 604_800
        case .anonymous: 2_592_000
        case .impersonate, .file: 3600
        case .accessToken: 86_400
        case .session: 31_536_000
        }
    }
}

enum SettingsCatalogue {
    static let providers = [
        "google", "github", "gitlab", "facebook", "microsoft", "discord", "twitch", "spotify", "linkedin", "slack",
        "bitbucket",
        "notion", "patreon", "apple", "twitter", "oidc",
    ]

    /// In the order in which they are shown.
    ///
    /// Further OIDC instances (`oauth2.oidc-<name>.…`) are known without being listed.
    static let definitions: [SettingDefinition] = flows + limits + network + mail + oauth2

    private static let byKey = Dictionary(uniqueKeysWithValues: definitions.map { ($0.key, $0) })

    static func definition(of key: String) -> SettingDefinition? {
        if let known = byKey[key] { return known }
        guard let match = key.wholeMatch(of: /oauth2\.oidc-([a-z0-9]{1,32})\.([a-z_]+)/),
            let pattern = byKey["oauth2.oidc.\(match.2)"]
        else { return nil }
        return SettingDefinition(key: key, kind: pattern.kind, defaultValue: pattern.defaultValue)
    }

    private static let flows: [SettingDefinition] =
        Feature.allCases.map { .init(key: $0.key, kind: .flag, defaultValue: $0.isOnByDefault ? "1" : "0") }
        + Window.allCases.map { .init(key: $0.key, kind: .window, defaultValue: String($0.defaultSeconds)) }
        + [
            .init(key: "password.min_length", kind: .count(1...PasswordPolicy.countMax), defaultValue: "8"),
            .init(key: "password.blocklist", kind: .flag, defaultValue: "1"),
            .init(key: "auth.anonymous.kept_days", kind: .count(0...30), defaultValue: "30"),
            .init(key: "auth.impersonation.notify", kind: .flag, defaultValue: "1"),
            .init(key: "auth.enumeration_safe", kind: .flag, defaultValue: "0"),
            .init(key: "auth.mfa.required", kind: .choice(["off", "admins", "all"]), defaultValue: "off"),
            .init(key: "auth.mfa.backup_login.enabled", kind: .flag, defaultValue: "1"),
            .init(
                key: "auth.recovery.clears_mfa",
                kind: .choice(["when_codes_spent", "never"]),
                defaultValue: "when_codes_spent"
            ),
        ]

    private static let limits: [SettingDefinition] = [
        .init(key: "auth.lockout.max_attempts", kind: .count(0...10_000), defaultValue: "10"),
        .init(key: "auth.lockout.duration_seconds", kind: .count(1...86_400), defaultValue: "900"),
        .init(key: "audit.kept_days", kind: .count(0...3650), defaultValue: "0"),
        .init(key: Session.liveMaxKey, kind: .count(1...1000), defaultValue: "200"),
        .init(key: "rate_limit.enabled", kind: .flag, defaultValue: "1"),
        .init(key: "rate_limit.rules", kind: .rateRules, defaultValue: RateRules.standard.text),
    ]

    private static let network: [SettingDefinition] = [
        .init(key: "app.url", kind: .baseURL, defaultValue: ""),
        .init(key: "cors.origins", kind: .origins, defaultValue: "*"),
        .init(key: "security.trusted_proxies", kind: .addressRanges, defaultValue: ""),
        .init(key: "outbound.allowed_hosts", kind: .hosts, defaultValue: ""),
    ]

    private static let mail: [SettingDefinition] =
        [
            .init(key: "smtp.enabled", kind: .flag, defaultValue: "0"),
            .init(key: "smtp.host", kind: .host, defaultValue: ""),
            .init(key: "smtp.port", kind: .count(1...65_535), defaultValue: "587"),
            .init(key: "smtp.secure", kind: .flag, defaultValue: "0"),
            .init(key: "smtp.user", kind: .line(bytesMax: 500), defaultValue: ""),
            .init(key: "smtp.pass", kind: .secret, defaultValue: ""),
            .init(key: "smtp.from", kind: .mailbox, defaultValue: ""),
        ]
        + MailTemplate.allCases.flatMap { template -> [SettingDefinition] in
            [
                .init(key: template.subjectKey, kind: .template(bytesMax: 500), defaultValue: ""),
                .init(key: template.bodyKey, kind: .template(bytesMax: 65_536), defaultValue: ""),
            ]
        }

    private static let oauth2: [SettingDefinition] =
        [
            .init(key: "oauth2.allowed_redirect_uris", kind: .redirectURIs, defaultValue: ""),
            .init(key: "oauth2.link_strategy", kind: .choice(["auto", "confirm"]), defaultValue: "auto"),
        ]
        + providers.flatMap { provider -> [SettingDefinition] in
            [
                .init(key: "oauth2.\(provider).enabled", kind: .flag, defaultValue: "0"),
                .init(key: "oauth2.\(provider).client_id", kind: .line(bytesMax: 500), defaultValue: ""),
                .init(key: "oauth2.\(provider).client_secret", kind: .secret, defaultValue: ""),
                .init(key: "oauth2.\(provider).scopes", kind: .line(bytesMax: 2000), defaultValue: ""),
                .init(key: "oauth2.\(provider).allowed_redirect_uris", kind: .redirectURIs, defaultValue: ""),
                .init(key: "oauth2.\(provider).native_client_ids", kind: .line(bytesMax: 2000), defaultValue: ""),
                .init(key: "oauth2.\(provider).authorization_url", kind: .endpointURL, defaultValue: ""),
                .init(key: "oauth2.\(provider).token_url", kind: .endpointURL, defaultValue: ""),
                .init(key: "oauth2.\(provider).userinfo_url", kind: .endpointURL, defaultValue: ""),
                .init(key: "oauth2.\(provider).jwks_url", kind: .endpointURL, defaultValue: ""),
                .init(key: "oauth2.\(provider).issuer", kind: .endpointURL, defaultValue: ""),
            ]
        }
        + [
            .init(key: "oauth2.apple.team_id", kind: .line(bytesMax: 100), defaultValue: ""),
            .init(key: "oauth2.apple.key_id", kind: .line(bytesMax: 100), defaultValue: ""),
            .init(key: "oauth2.apple.private_key", kind: .secret, defaultValue: ""),
            .init(key: "oauth2.oidc.display_name", kind: .line(bytesMax: 100), defaultValue: ""),
            .init(
                key: "oauth2.oidc.client_authentication",
                kind: .choice(["published", "post", "basic"]),
                defaultValue: "published"
            ),
        ]
}
