import Storage

/// Finds out who a request acts as, from its `Authorization` header.
///
/// Warm, it asks the database nothing: verified tokens, sessions and users come from caches that die with the write
/// that changes them.
struct Authenticator: Sendable {
    let services: Services
    private let tokens: Cache<Digest, SessionClaims>
    private let sessions: Cache<SessionID, Session>
    private let users: Cache<UserID, User>

    static let cachedMax = 50_000

    init(services: Services) {
        self.services = services
        tokens = Cache(capacity: Self.cachedMax, of: services.db) { topic in topic == Topic.signingKeys ? .all : .none }
        sessions = Cache(capacity: Self.cachedMax, of: services.db) { topic in
            Topic.sessionID(topic).map { .one($0) } ?? .none
        }
        users = Cache(capacity: Self.cachedMax, of: services.db) { topic in
            Topic.userID(topic).map { .one($0) } ?? .none
        }
    }

    /// The caller of a route.
    ///
    /// An open one needs none, and a credential that doesn't hold is no reason to refuse it: whoever's session has
    /// ended must be able to log in again.
    func principal(authorization header: String?, for route: Route) async throws -> Principal? {
        guard route.admits == .open else { return try await principal(authorization: header) }
        return nil
    }

    /// Nil when no credential was sent.
    ///
    /// Throws `invalid_token`, `token_expired` or `session_ended` for one that doesn't hold.
    private func principal(authorization header: String?) async throws -> Principal? {
        guard let header else { return nil }
        guard let credential = Credential(header: header) else { throw AuthError(.invalidToken) }
        guard let claims = try await claims(of: credential.token) else { throw AuthError(.invalidToken) }
        // A file token is for others' servers.
        guard claims.audience != .file else { throw AuthError(.invalidToken) }
        return try await principal(for: claims)
    }

    private func claims(of token: String) async throws -> SessionClaims? {
        try await tokens.value(for: Digest(of: token)) { try await services.signingKeys().verify(token) }
    }

    private func session(_ id: SessionID, at now: Timestamp) async throws -> Session? {
        let load = { try await services.db.read { tx in try tx.session(id) } }
        guard let session = try await sessions.value(for: id, load: load) else { return nil }
        // Another node may have extended it since, of which this one isn't told.
        guard session.endReason(at: now) == .expired else { return session }
        return try await sessions.renewed(for: id, load: load)
    }

    private func principal(for claims: SessionClaims) async throws -> Principal {
        let now = services.clock.now()
        let session = try await session(claims.session, at: now)
        guard let session, session.userID == claims.user, session.kind.audience == claims.audience else {
            throw AuthError(.invalidToken)
        }
        if let reason = session.endReason(at: now) {
            throw AuthError(.sessionEnded, details: ["reason": reason.rawValue])
        }
        guard claims.expiresAt > now else { throw AuthError(.tokenExpired) }
        let user = try await users.value(for: claims.user) {
            try await services.db.read { tx in try tx.user(claims.user) }
        }
        guard let user, user.status == .active, user.collectionID == session.collectionID,
            let collection = try await services.collections()[id: user.collectionID]
        else { throw AuthError(.invalidToken) }
        services.lastSeen.note(session, at: now)
        return Principal(user: user, collection: collection, session: session, claims: claims)
    }
}

/// A credential of the `Authorization` header: `Bearer <token>`, or `Basic base64(<token>:)` as `curl -u "$TOKEN:"`
/// sends it.
struct Credential: Sendable {
    let token: String

    init?(header: String) {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        switch parts[0].lowercased() {
        case "bearer": token = String(parts[1])
        case "basic":
            guard let decoded = Base64.decode(parts[1]).flatMap({ String(validating: $0, as: UTF8.self) }),
                decoded.hasSuffix(":"),
                !decoded.dropLast().contains(":")
            else { return nil }
            token = String(decoded.dropLast())
        default: return nil
        }
    }
}
