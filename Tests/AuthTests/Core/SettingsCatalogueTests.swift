import Testing

@testable import Auth

struct SettingsCatalogueTests {
    @Test func `every key is there once`() {
        let keys = SettingsCatalogue.definitions.map(\.key)
        #expect(Set(keys).count == keys.count)
        #expect(keys.allSatisfy { $0.wholeMatch(of: /[a-z0-9_]+(\.[a-z0-9_]+)+/) != nil })
    }

    @Test func `every default can be stored and is not warned about`() {
        for definition in SettingsCatalogue.definitions {
            #expect(definition.problem(with: definition.defaultValue) == nil, "\(definition.key)")
            #expect(definition.warning(about: definition.defaultValue) == nil, "\(definition.key)")
        }
    }

    /// The defaults of the contract, §4.
    @Test(arguments: [
        ("auth.otp.enabled", "0"), ("auth.mfa.enabled", "1"), ("auth.anonymous.enabled", "0"),
        ("auth.impersonation.enabled", "1"),
        ("auth.user.window_seconds", "604800"), ("auth.admin.window_seconds", "604800"),
        ("auth.refresh.window_seconds", "604800"),
        ("auth.anonymous.window_seconds", "2592000"), ("auth.impersonate.window_seconds", "3600"),
        ("auth.file.window_seconds", "3600"),
        ("auth.access_token.window_seconds", "86400"), ("auth.session.absolute_seconds", "31536000"),
        ("password.min_length", "8"),
        ("password.blocklist", "1"), ("auth.lockout.max_attempts", "10"), ("auth.lockout.duration_seconds", "900"),
        ("auth.enumeration_safe", "0"),
        ("auth.mfa.required", "off"), ("auth.mfa.backup_login.enabled", "1"),
        ("auth.recovery.clears_mfa", "when_codes_spent"),
        ("rate_limit.enabled", "1"), ("rate_limit.rules", "auth=10/3 *=300/10"), ("outbound.allowed_hosts", ""),
        ("security.trusted_proxies", ""),
        ("cors.origins", "*"), ("app.url", ""), ("smtp.enabled", "0"), ("smtp.port", "587"), ("smtp.secure", "0"),
        ("email.verify.subject", ""),
        ("oauth2.google.enabled", "0"), ("oauth2.link_strategy", "auto"), ("oauth2.apple.team_id", ""),
        ("oauth2.oidc.display_name", ""),
    ])
    func `a default is the contract's`(_ key: String, _ value: String) throws {
        #expect(try #require(SettingsCatalogue.definition(of: key)).defaultValue == value)
        #expect(Settings(stored: [:]).text(key) == value)
    }

    @Test(arguments: [
        ("oauth2.oidc-acme.client_secret", true), ("oauth2.oidc-acme.issuer", true),
        ("oauth2.oidc-a1.display_name", true), ("oauth2.oidc-acme.nonsense", false),
        ("oauth2.oidc-.issuer", false), ("oauth2.oidc-ACME.issuer", false), ("oauth2.oidc-a-b.issuer", false),
        ("oauth2.acme.issuer", false),
        ("oauth2.oidc-\(String(repeating: "a", count: 33)).issuer", false), ("oauth2.oidc-acme.issuer.x", false),
        ("auth.user", false), ("", false),
        ("AUTH.MFA.ENABLED", false), ("auth.mfa.enabled ", false),
    ])
    func `further OIDC instances are known, and nothing else is`(_ key: String, _ isKnown: Bool) {
        #expect((SettingsCatalogue.definition(of: key) != nil) == isKnown)
    }

    @Test func `secrets are sealed, and no other setting is`() {
        let secrets = SettingsCatalogue.definitions.filter(\.isSecret).map(\.key)
        let expected =
            ["smtp.pass"] + SettingsCatalogue.providers.map { "oauth2.\($0).client_secret" } + [
                "oauth2.apple.private_key"
            ]
        #expect(secrets == expected)
        #expect(SettingsCatalogue.definition(of: "oauth2.oidc-acme.client_secret")?.isSecret == true)
    }

    @Test(arguments: [
        ("auth.mfa.enabled", ["0", "1", "true", "false"], ["", "2", "yes", "TRUE", " 1", "on"], "must be 0 or 1"),
        (
            "auth.user.window_seconds", ["60", "5", "garbage", "", "-1"], [String(repeating: "1", count: 33)],
            "must be a number of seconds"
        ),
        (
            "password.min_length", ["1", "256"], ["", "0", "257", "-1", "8.5", "eight", "1e1", " 8"],
            "must be a whole number from 1 to 256"
        ),
        ("auth.lockout.max_attempts", ["0", "10000"], ["10001", "-1"], "must be a whole number from 0 to 10000"),
        (
            "smtp.port", ["1", "65535"], ["0", "65536", "99999999999999999999"],
            "must be a whole number from 1 to 65535"
        ),
        ("auth.mfa.required", ["off", "admins", "all"], ["", "none", "OFF"], "must be one of: off, admins, all"),
        (
            "smtp.from", ["", "a@b.c", "Ada <a@b.c>", "\"Ada L.\" <a@b.c>", "Ädä <a@b.c>"],
            ["Ada", "a@b.c\nBcc: x@b.c", "Ada\r\nX: y <a@b.c>", "a@b.c, x@b.c", "<a@b.c> x", "A\"da <a@b.c>"],
            "must be an address such as no-reply@example.org, or Name <no-reply@example.org>"
        ),
        (
            "smtp.host", ["", "mail.example.org", "127.0.0.1", "::1", "[::1]"],
            ["smtp://mail", "mail:25", "mail/x", "a b", "user@mail", "mail\n"],
            "must be a host name or address, without a scheme or port"
        ),
        (
            "smtp.pass", ["", String(repeating: "a", count: 8192)], [String(repeating: "a", count: 8193)],
            "must be at most 8192 bytes"
        ),
        (
            "app.url", ["", "https://auth.example.org", "http://localhost:8090/base"],
            [
                "auth.example.org", "ftp://a.b", "javascript:alert(1)", "https://", "https://user:pass@a.b",
                "https://a.b\nX", "https://a.b/\nX", "https://a b", "https://a.b/<x>",
                "https://a.b/?x", "https://a.b/#x",
            ],
            "must be an http or https URL without a query or fragment"
        ),
        ("rate_limit.rules", ["", "auth=5/1"], ["auth", "x=1/1"], "must look like auth=10/3 *=300/10"),
        (
            "security.trusted_proxies", ["", "10.0.0.0/8, ::1"], ["localhost", "10.0.0.0/99"],
            "must be addresses or ranges such as 10.0.0.0/8, ::1"
        ),
        (
            "cors.origins", ["", "*", "https://app.example.com", "https://a.b, http://localhost:3000"],
            ["app.example.com", "https://a.b/", "null"],
            "must be * or origins such as https://app.example.com"
        ),
        (
            "outbound.allowed_hosts", ["", "idp.internal", "10.0.0.1:8443, [::1]:80, [fd00::1]"],
            ["http://a", "a b", "a:x", "a:123456", "[x]"],
            "must be a list of host or host:port"
        ),
    ])
    func `each kind of setting takes its values`(_ key: String, _ good: [String], _ bad: [String], _ problem: String)
        throws
    {
        let definition = try #require(SettingsCatalogue.definition(of: key))
        for value in good { #expect(definition.problem(with: value) == nil, "\(value)") }
        for value in bad { #expect(definition.problem(with: value) == problem, "\(value)") }
    }
}
