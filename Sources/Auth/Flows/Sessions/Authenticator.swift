import Storage

/// Finds out who a request acts as, from its `Authorization` header.
///
/// Warm, it asks the database nothing: verified tokens and keys, sessions and users come from caches that die with the
/// write that changes them.
struct Authenticator: Sendable {
    let services: Services
    let apiKeys: APIKeys
    private let tokens: Cache<Digest, SessionClaims>
    private let sessions: Cache<SessionID, Session>
    private let users: Cache<UserID, User>

    init(services: Services, apiKeys: APIKeys) {
        self.services = services
        self.apiKeys = apiKeys
        let (db, memory) = (services.db, services.memory)
        tokens = Cache(bytesMax: memory.tokenCacheBytes, of: db, weighing: \.memoryBytes) { topic in
            topic == Topic.signingKeys ? .all : .none
        }
        sessions = Cache(bytesMax: memory.sessionCacheBytes, of: db, weighing: \.memoryBytes) { topic in
            topic == Topic.allSessions ? .all : Topic.sessionID(topic).map { .one($0) } ?? .none
        }
        users = Cache(bytesMax: memory.userCacheBytes, of: db, weighing: \.memoryBytes) { topic in
            Topic.userID(topic).map { .one($0) } ?? .none
        }
    }

    /// The caller of a route.
    ///
    /// An open one needs none, and a credential that doesn't hold is no reason to refuse it: whoever's session has
    /// ended must be able to log in again.
    func principal(authorization header: Result<String?, any Error>, for route: Route) async throws -> Principal? {
        switch route.admits {
        case .open: return nil
        case .openToAll:
            do {
                return try await principal(authorization: header.get())
            } catch let error as AuthError where error.code.status == 401 {
                return nil
            }
        case .signedIn, .member, .ownerOrAdmin, .selfOrAdmin, .admin:
            return try await principal(authorization: header.get())
        }
    }

    /// Nil when no credential was sent.
    ///
    /// Throws `invalid_token`, `token_expired` or `session_ended` for one that doesn't hold.
    private func principal(authorization header: String?) async throws -> Principal? {
        guard let header else { return nil }
        guard let text = AuthorizationHeader(header)?.credential else { throw AuthError(.invalidToken) }
        return if text.hasPrefix(OpaqueToken.Kind.accessToken.rawValue) {
            try await principal(accessToken: text)
        } else if text.hasPrefix("eyJ") && text.contains(".") {
            try await principal(jwt: text)
        } else {
            try await principal(apiKey: text)
        }
    }

    private func principal(jwt text: String) async throws -> Principal {
        let claims = try await tokens.value(for: Digest(of: text)) { try await services.signingKeys().verify(text) }
        let now = services.clock.now()
        // A file token is for others' servers.
        guard let claims, claims.audience != .file, let session = try await session(claims.session, at: now),
            session.userID == claims.user, session.kind.audience == claims.audience
        else { throw AuthError(.invalidToken) }
        return try await principal(of: session, by: .jwt, until: claims.expiresAt, at: now)
    }

    private func principal(accessToken text: String) async throws -> Principal {
        guard let token = OpaqueToken(parsing: text, .accessToken), let id = token.session else {
            throw AuthError(.invalidToken)
        }
        let now = services.clock.now()
        let digest = token.digest
        var session = try await session(id, at: now)
        // Another node may have made the token a moment ago.
        if session?[digest] == nil { session = try await renewedSession(id) }
        guard let session, let stored = session[digest] else { throw AuthError(.invalidToken) }
        return try await principal(of: session, by: .opaque, until: stored.expiresAt, at: now)
    }

    private func principal(apiKey text: String) async throws -> Principal {
        let now = services.clock.now()
        guard let key = try await apiKeys.find(text) else { throw AuthError(.invalidToken) }
        guard key.state(at: now) == .active else { throw AuthError(.tokenExpired, "This API key has expired.") }
        let (user, collection) = try await activeUser(key.userID)
        services.lastUsed.note(key.id, last: key.lastUsedAt, at: now)
        return Principal(user: user, collection: collection, credential: .apiKey(key))
    }

    private func principal(of session: Session, by type: TokenType, until expiresAt: Timestamp, at now: Timestamp)
        async throws -> Principal
    {
        if let reason = session.endReason(at: now) {
            throw AuthError(.sessionEnded, details: ["reason": reason.rawValue])
        }
        guard expiresAt > now else { throw AuthError(.tokenExpired) }
        if let impersonator = session.impersonation { try await check(impersonator, at: now) }
        guard try await services.collections()[id: session.collectionID] != nil else {
            throw AuthError(.sessionEnded, details: ["reason": Session.EndReason.deleted.rawValue])
        }
        let (user, collection) = try await activeUser(session.userID)
        guard user.collectionID == session.collectionID else { throw AuthError(.invalidToken) }
        services.lastSeen.note(session.id, last: session.lastSeenAt, at: now)
        let credential = Principal.Credential.token(type, of: session, expiresAt: expiresAt)
        return Principal(user: user, collection: collection, credential: credential)
    }

    /// An impersonation lives no longer than the admin's own session, and than they are an admin.
    private func check(_ impersonator: Session.Impersonator, at now: Timestamp) async throws {
        let own = try await session(impersonator.session, at: now)
        let admin = try await user(impersonator.admin)
        let admins = try await services.adminsCollection()
        guard let own, own.endReason(at: now) == nil, let admin, admin.status == .active,
            admin.collectionID == admins.id
        else { throw AuthError(.sessionEnded, details: ["reason": Session.EndReason.revoked.rawValue]) }
    }

    private func activeUser(_ id: UserID) async throws -> (User, Collection) {
        guard let user = try await user(id), user.status == .active,
            let collection = try await services.collections()[id: user.collectionID]
        else { throw AuthError(.invalidToken) }
        return (user, collection)
    }

    private func user(_ id: UserID) async throws -> User? {
        try await users.value(for: id) { try await services.db.read { tx in try tx.user(id) } }
    }

    private func session(_ id: SessionID, at now: Timestamp) async throws -> Session? {
        let session = try await sessions.value(for: id) { try await services.db.read { tx in try tx.session(id) } }
        // Another node may have extended it since, of which this one isn't told.
        guard session?.endReason(at: now) == .expired else { return session }
        return try await renewedSession(id)
    }

    private func renewedSession(_ id: SessionID) async throws -> Session? {
        try await sessions.renewed(for: id) { try await services.db.read { tx in try tx.session(id) } }
    }
}

/// The credential of an `Authorization` header: `Bearer <token>`, or `Basic base64(<token>:)` as `curl -u "$TOKEN:"`
/// sends it.
struct AuthorizationHeader: Sendable {
    let credential: String

    /// Nil for another scheme, and for a password where there is to be none.
    init?(_ text: String) {
        let parts = text.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        switch parts[0].lowercased() {
        case "bearer": credential = String(parts[1])
        case "basic":
            guard let decoded = Base64.decode(parts[1]).flatMap({ TextGate.text($0, as: .headerValue) }),
                decoded.hasSuffix(":"),
                !decoded.dropLast().contains(":")
            else { return nil }
            credential = String(decoded.dropLast())
        default: return nil
        }
    }
}
