import Synchronization

/// What providers publish of themselves, kept for a while: discovery documents and key sets.
///
/// Of any number of requests at once, one asks. A class, since it changes.
final class ProviderDocuments: Sendable {
    static let keptSeconds: Int64 = 3600
    /// A key that isn't known is looked for again at most so often, whatever tokens are sent.
    static let renewalSeconds: Int64 = 10
    static let countMax = 100
    static let keysMax = 100

    private struct Document {
        let json: JSON
        let fetchedAt: Timestamp
    }

    private struct State {
        var documents: [String: Document] = [:]
        var renewedAt: [String: Timestamp] = [:]
        var underWay: [String: Task<JSON, any Error>] = [:]
    }

    private let services: Services
    private let state = Mutex(State())

    init(services: Services) {
        self.services = services
    }

    /// The discovery document of an issuer (OpenID Connect Discovery §4).
    ///
    /// Throws ``OAuthFault`` when it is none, or is another issuer's.
    func discovery(of issuer: String) async throws -> JSON {
        let url = Self.discoveryURL(of: issuer)
        let document = try await document(url)
        guard document["issuer"] == .string(issuer) else {
            forget(url)
            throw OAuthFault.failed("its discovery document is another issuer's")
        }
        return document
    }

    /// Asks anew the next time: what was kept is of no use.
    func forgetDiscovery(of issuer: String) { forget(Self.discoveryURL(of: issuer)) }

    private func forget(_ url: String) { state.withLock { $0.documents[url] = nil } }

    private static func discoveryURL(of issuer: String) -> String {
        (issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer) + "/.well-known/openid-configuration"
    }

    /// The key that a token with this header is signed with.
    ///
    /// Throws ``OAuthFault`` when there is none.
    func key(for header: IDToken.Header, at url: String) async throws -> JSONWebKey {
        if let key = header.key(among: Self.keys(try await document(url))) { return key }
        guard let key = try await renewedKey(for: header, at: url) else {
            throw OAuthFault.invalidIDToken("its key is unknown")
        }
        return key
    }

    /// The same after another look at what the provider publishes, since it may have changed its keys under the same ids, or
    /// under none; nil when there is no such key, or the last such look was a moment ago.
    func renewedKey(for header: IDToken.Header, at url: String) async throws -> JSONWebKey? {
        guard mayRenew(url) else { return nil }
        return header.key(among: Self.keys(try await fetched(url)))
    }

    private static func keys(_ document: JSON) -> [JSONWebKey] {
        (document["keys"]?.elements ?? []).prefix(keysMax).compactMap(JSONWebKey.init)
    }

    private func document(_ url: String) async throws -> JSON {
        let now = services.clock.now()
        if let kept = state.withLock({ $0.documents[url] }), now.seconds(since: kept.fetchedAt) < Self.keptSeconds {
            return kept.json
        }
        return try await fetched(url)
    }

    private func mayRenew(_ url: String) -> Bool {
        let now = services.clock.now()
        return state.withLock { state in
            // Who comes while it is fetched waits for that.
            if state.underWay[url] != nil { return true }
            if let last = state.renewedAt[url], now.seconds(since: last) < Self.renewalSeconds { return false }
            state.renewedAt[url] = now
            return true
        }
    }

    private func fetched(_ url: String) async throws -> JSON {
        let task = state.withLock { state in
            let task =
                state.underWay[url]
                ?? Task { [services] in
                    try await OAuthExchange.document(services.fetch(.get(url)))
                }
            state.underWay[url] = task
            return task
        }
        defer { state.withLock { $0.underWay[url] = nil } }
        let json = try await task.value
        let now = services.clock.now()
        state.withLock { state in
            if state.documents.count >= Self.countMax {
                state.documents = [:]
                state.renewedAt = [:]
            }
            state.documents[url] = Document(json: json, fetchedAt: now)
        }
        return json
    }
}
