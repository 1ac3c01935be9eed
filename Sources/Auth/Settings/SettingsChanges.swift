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
        let names = (puts.map(\.key) + removals).sorted()
        let (written, removed) = (puts, removals)
        try await services.write(as: actor) { tx in
            for setting in written { try tx.putSetting(setting, at: now) }
            for key in removed { try tx.removeSetting(key) }
            tx.announce(Topic.settings)
            if names.contains(where: { $0.hasPrefix("smtp.") || $0 == "app.url" }) {
                let isTransportSet = try tx.storedSettings().contains {
                    $0.key == "smtp.enabled" && Settings.isOn($0.value)
                }
                try tx.redirectMails(isTransportSet: isTransportSet, at: now)
            }
            try tx.audit(.settingsChanged, by: actor, details: ["keys": .array(names.map(JSON.string))], services)
        }
        if names.contains("smtp.enabled") || names.contains("app.url") {
            let settings = try await services.settings()
            if settings.isOn("smtp.enabled") && settings.text("app.url").isEmpty {
                warnings["app.url"] = "is empty: links in mails begin with it, so none is sent until it is set"
            }
        }
        if names.contains(where: { $0.hasPrefix("oauth2.") }) {
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
