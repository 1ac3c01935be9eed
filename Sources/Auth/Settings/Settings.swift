/// The settings in force: what the database has, defaults elsewhere.
///
/// Immutable; a change makes a new one.
struct Settings: Sendable {
    private let stored: [String: String]
    /// Parsed once, since every request needs them.
    let rateRules: RateRules?
    let trustedProxies: [AddressRange]
    /// Nil when any origin may call.
    let corsOrigins: Set<String>?
    let mfaRequirement: MFARequirement

    /// Who must have a second factor, whatever their collection says.
    enum MFARequirement: String, Sendable {
        case off
        case admins
        case all
        /// Not even where a collection asks for it: the feature is off.
        case impossible
    }

    /// `stored` holds plaintext, secrets included.
    init(stored: [String: String]) {
        self.stored = stored
        func text(_ key: String) -> String { Self.text(key, in: stored) }
        rateRules =
            Self.isOn(text("rate_limit.enabled")) ? RateRules(parsing: text("rate_limit.rules")) ?? .standard : nil
        trustedProxies = AddressRange.list(parsing: text("security.trusted_proxies")) ?? []
        mfaRequirement =
            Self.isOn(text(Feature.mfa.key)) ? MFARequirement(rawValue: text("auth.mfa.required")) ?? .off : .impossible
        let origins = text("cors.origins").split(separator: ",").map { $0.trimmed }
        corsOrigins = origins.contains("*") ? nil : Set(origins)
    }

    func isOn(_ feature: Feature) -> Bool { isOn(feature.key) }

    func isOn(_ key: String) -> Bool { Self.isOn(text(key)) }

    /// Seconds.
    ///
    /// `refresh` without a value of its own follows the window of the kind of session, so that shortening that shortens
    /// both.
    func seconds(_ window: Window) -> Int {
        guard let text = stored[window.key] else { return window.defaultSeconds }
        return Self.windowSeconds(text) ?? window.defaultSeconds
    }

    /// True when somebody gave it a value, good or bad.
    func isSet(_ window: Window) -> Bool { stored[window.key] != nil }

    func count(_ key: String) -> Int { Int(text(key)) ?? 0 }

    /// The OpenID Connect instances beside `oidc`, such as `oidc-acme`, in alphabetical order.
    var oidcInstances: [String] {
        Set(stored.keys.filter { $0.hasPrefix("oauth2.oidc-") }.map { String($0.split(separator: ".")[1]) }).sorted()
    }

    func text(_ key: String) -> String { Self.text(key, in: stored) }

    /// Nil when malformed or out of bounds.
    static func windowSeconds(_ text: String) -> Int? {
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), let seconds = Int(text),
            (Window.secondsMin...Window.secondsMax).contains(seconds)
        else { return nil }
        return seconds
    }

    static func isOn(_ text: String) -> Bool { text == "1" || text == "true" }

    private static func text(_ key: String, in stored: [String: String]) -> String {
        stored[key] ?? SettingsCatalogue.definition(of: key)?.defaultValue ?? ""
    }
}

extension SettingDefinition {
    /// Of any setting, before it is looked at; most have smaller limits of their own.
    static let bytesMax = 65_536

    /// What is wrong with a value; nil when it can be stored.
    func problem(with text: String) -> String? {
        guard text.utf8.count <= Self.bytesMax else { return "must be at most \(Self.bytesMax) bytes" }
        if text.utf8.contains(0) { return "must not contain NUL characters" }
        return switch kind {
        case .flag: ["0", "1", "true", "false"].contains(text) ? nil : "must be 0 or 1"
        case .window: text.utf8.count <= 32 ? nil : "must be a number of seconds"
        case .count(let range):
            Int(text).map(range.contains) == true
                ? nil : "must be a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .choice(let choices): choices.contains(text) ? nil : "must be one of: \(choices.joined(separator: ", "))"
        case .text(let bytesMax): text.utf8.count <= bytesMax ? nil : "must be at most \(bytesMax) bytes"
        case .secret: text.utf8.count <= 8192 ? nil : "must be at most 8192 bytes"
        case .endpointURL: text.isEmpty || text.isEndpointURL ? nil : "must be an http or https URL without a fragment"
        case .baseURL:
            text.isEmpty || text.isHTTPURL && !text.contains(where: { $0 == "?" || $0 == "#" })
                ? nil : "must be an http or https URL without a query or fragment"
        case .line(let bytesMax):
            text.utf8.count <= bytesMax && text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
                ? nil : "must be one line of at most \(bytesMax) bytes"
        case .rateRules: RateRules(parsing: text) != nil ? nil : "must look like \(RateRules.standard.text)"
        case .addressRanges:
            AddressRange.list(parsing: text) != nil ? nil : "must be addresses or ranges such as 10.0.0.0/8, ::1"
        case .origins:
            text.split(separator: ",").map(\.trimmed).allSatisfy { $0 == "*" || $0.isHTTPURL && !$0.hasSuffix("/") }
                ? nil : "must be * or origins such as https://app.example.com"
        case .hosts:
            text.split(separator: ",").map(\.trimmed).allSatisfy {
                $0.wholeMatch(of: /[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?/) != nil
            }
                ? nil : "must be a list of host or host:port"
        case .redirectURIs: text.utf8.count <= 8192 ? RedirectRules.problem(with: text) : "must be at most 8192 bytes"
        case .host:
            text.isEmpty || text.wholeMatch(of: /[A-Za-z0-9_][A-Za-z0-9._-]{0,252}|\[?[0-9A-Fa-f:.]{2,45}\]?/) != nil
                ? nil : "must be a host name or address, without a scheme or port"
        case .mailbox:
            text.isEmpty || text.utf8.count <= 500 && Mailbox(parsing: text) != nil
                ? nil : "must be an address such as no-reply@example.org, or Name <no-reply@example.org>"
        case .template(let bytesMax):
            text.utf8.count <= bytesMax ? MailText.problem(with: text) : "must be at most \(bytesMax) bytes"
        }
    }

    /// What is odd about a value that is stored all the same.
    func warning(about text: String) -> String? {
        guard case .window = kind, Settings.windowSeconds(text) == nil else { return nil }
        return
            "is not between \(Window.secondsMin) and \(Window.secondsMax) seconds: the default of \(defaultValue) is used"
    }

    var isSecret: Bool {
        if case .secret = kind { true } else { false }
    }
}
