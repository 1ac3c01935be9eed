import OrderedCollections
import Storage

/// Reading and changing the settings: what the admin routes and `latchkey settings` call.
struct SettingsChanges: Sendable {
    /// Stands for a secret that is set; sending it back changes nothing.
    static let mask = "********"

    let services: Services

    /// Every setting in force, secrets masked.
    func all() async throws -> OrderedDictionary<String, String> {
        let stored = try await services.db.read { tx in try tx.storedSettings() }
        let byKey = Dictionary(uniqueKeysWithValues: stored.map { ($0.key, $0) })
        let extra = stored.map(\.key).filter { key in !SettingsCatalogue.definitions.contains { $0.key == key } }
        let keys = SettingsCatalogue.definitions.map(\.key) + extra
        return OrderedDictionary(
            uniqueKeysWithValues: keys.map { key in
                guard let setting = byKey[key] else {
                    return (key, SettingsCatalogue.definition(of: key)?.defaultValue ?? "")
                }
                return (key, setting.isSealed ? (setting.value.isEmpty ? "" : Self.mask) : setting.value)
            }
        )
    }

    /// Stores what is given, nil for back to the default; all of it or, when something is wrong, nothing.
    ///
    /// Returns warnings by key. Throws `validation_failed` with a message per wrong key.
    func set(_ changes: [String: String?], by actor: Actor) async throws -> [String: String] {
        var problems: [String: String] = [:]
        var warnings: [String: String] = [:]
        var puts: [StoredSetting] = []
        var removals: [String] = []
        for (key, value) in changes {
            guard let definition = SettingsCatalogue.definition(of: key) else {
                problems[key] = "is not a setting"
                continue
            }
            guard let value else {
                removals.append(key)
                continue
            }
            if definition.isSecret && value == Self.mask { continue }
            if let problem = definition.problem(with: value) { problems[key] = problem }
            warnings[key] = definition.warning(about: value)
            puts.append(try stored(value, as: definition))
        }
        guard problems.isEmpty else { throw AuthError.validation(problems) }
        let now = services.clock.now()
        let (given, cleared) = (puts, removals)
        try await services.write(as: actor) { [services] tx in
            let stored = Dictionary(uniqueKeysWithValues: try tx.storedSettings().map { ($0.key, $0) })
            let written = given.filter { setting in
                stored[setting.key].map { !services.holdsTheSame($0, setting) } ?? true
            }
            let removed = cleared.filter { stored[$0] != nil }
            let names = (written.map(\.key) + removed).sorted()
            // A change that changes nothing writes nothing.
            guard !names.isEmpty else { return }
            for setting in written { try tx.putSetting(setting, at: now) }
            for key in removed { try tx.removeSetting(key) }
            tx.announce(Topic.settings)
            if names.contains(where: { $0.hasPrefix("smtp.") || $0 == "app.url" }) {
                let isTransportSet = try tx.storedSettings().contains {
                    $0.key == "smtp.enabled" && Settings.isOn($0.value)
                }
                try tx.redirectMails(isTransportSet: isTransportSet, at: now)
            }
            try tx.audit(.settingsChanged, by: actor, details: ["keys": .list(names)], services)
        }
        let sent = puts.map(\.key) + removals
        if sent.contains("smtp.enabled") || sent.contains("app.url") {
            let settings = try await services.settings()
            if settings.isOn("smtp.enabled") && settings.text("app.url").isEmpty {
                warnings["app.url"] = "is empty: links in mails begin with it, so none is sent until it is set"
            }
        }
        if sent.contains(where: { $0.hasPrefix("oauth2.") }) {
            let settings = try await services.settings()
            if OAuthClient.all(settings).contains(where: \.redirects.isOpen) {
                warnings["oauth2.allowed_redirect_uris"] =
                    "is empty: sign-in by a provider may lead back to any address; list those of your applications"
            }
        }
        return warnings
    }

    private func stored(_ value: String, as definition: SettingDefinition) throws -> StoredSetting {
        guard definition.isSecret, !value.isEmpty else {
            return StoredSetting(key: definition.key, value: value, isSealed: definition.isSecret)
        }
        let sealed = try services.sealingKey.seal(value, place: Self.place(definition.key), random: services.random)
        return StoredSetting(key: definition.key, value: sealed, isSealed: true)
    }

    static func place(_ key: String) -> String { "setting:\(key)" }
}

extension Services {
    /// Whether two stored settings have the same value; sealing the same secret twice gives different texts.
    fileprivate func holdsTheSame(_ one: StoredSetting, _ other: StoredSetting) -> Bool {
        guard one.isSealed, other.isSealed, !one.value.isEmpty, !other.value.isEmpty else {
            return one.isSealed == other.isSealed && one.value == other.value
        }
        let place = SettingsChanges.place(one.key)
        guard let value = sealingKey.open(one.value, place: place)?.reveal() else { return false }
        return value == sealingKey.open(other.value, place: place)?.reveal()
    }
}
