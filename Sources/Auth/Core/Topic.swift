/// The topics of ``Transaction/announce(_:)``.
enum Topic {
    static let settings = "settings"
    static let collections = "collections"
    static let signingKeys = "keys"
    /// That all sessions have ended.
    static let allSessions = "sessions"
    /// That a mail was posted, or may be tried again.
    static let outbox = "outbox"
    private static let userPrefix = "user:"
    private static let sessionPrefix = "session:"
    private static let secretPrefix = "secret:"
    private static let requestsPrefix = "requests:"

    static func user(_ id: UserID) -> String { userPrefix + id.rawValue }
    static func session(_ id: SessionID) -> String { sessionPrefix + id.rawValue }
    static func secret(_ id: SecretID) -> String { secretPrefix + id.rawValue }

    /// Requests that a node admitted, told without a write.
    static func requests(_ count: Int, from address: String, as label: RateRules.Label) -> String {
        "\(requestsPrefix)\(label.rawValue):\(count):\(address)"
    }

    static func requests(_ topic: String) -> (count: Int, address: String, label: RateRules.Label)? {
        guard topic.hasPrefix(requestsPrefix) else { return nil }
        let parts = topic.dropFirst(requestsPrefix.count).split(separator: ":", maxSplits: 2)
        guard parts.count == 3, let label = RateRules.Label(rawValue: String(parts[0])), let count = Int(parts[1]),
            count > 0
        else { return nil }
        return (count, String(parts[2]), label)
    }

    static func userID(_ topic: String) -> UserID? { id(topic, userPrefix) }
    static func sessionID(_ topic: String) -> SessionID? { id(topic, sessionPrefix) }
    static func secretID(_ topic: String) -> SecretID? { id(topic, secretPrefix) }

    private static func id<Subject>(_ topic: String, _ prefix: String) -> Identifier<Subject>? {
        guard topic.hasPrefix(prefix) else { return nil }
        return Identifier(rawValue: String(topic.dropFirst(prefix.count)))
    }
}
