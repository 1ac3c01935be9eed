import Storage

/// Keys by which programs act as a user, without signing in (seeds 000 and 003).
struct APIKeys: Sendable {
    static let countMax = 100

    let services: Services
    private let keys: Cache<SecretID, UserSecret>
    private let verified = VerifiedKeys()

    init(services: Services) {
        self.services = services
        keys = Cache(bytesMax: services.memory.keyCacheBytes, of: services.db, weighing: \.memoryBytes) { topic in
            Topic.secretID(topic).map { .one($0) } ?? .none
        }
    }

    /// What a new key is to be.
    struct Wish: Sendable {
        /// Nil: one is made.
        var text: Secret<String>?
        var name: String?
        var expiresAt: Timestamp?
        var scopes: [Permission]?
    }

    /// A new key, whose value is told this once.
    struct New: Sendable {
        let key: UserSecret
        let text: Secret<String>
    }

    /// Makes a key for a user; the first becomes the primary one.
    ///
    /// Throws `not_found`, `too_many_secrets`, `value_taken`, `validation_failed` for a text that could be guessed.
    func create(_ wish: Wish, for user: User, in collection: Collection, by actor: Actor) async throws -> New {
        if let text = wish.text, let problem = SuppliedSecret.problem(with: text.reveal(), of: user) {
            throw AuthError.validation(["secret": problem])
        }
        let text = wish.text ?? OpaqueToken(apiKey: services.random).text
        let hash = try await services.hasher.hash(text)
        let outbox = try await services.outboxIfOn()
        let now = services.clock.now()
        let id = SecretID(at: now, random: services.random)
        let key = try await services.write(as: actor) { [services] tx in
            guard try tx.user(user.id, in: collection.id) != nil else { throw AuthError(.notFound) }
            try tx.checkPlace(for: .apikey, of: user.id, max: Self.countMax)
            let isPrimary = try tx.primaryAPIKey(of: user.id) == nil
            var key = UserSecret(id, of: user.id, wish, isPrimary: isPrimary, at: now)
            key.issuer = actor.apiKey
            try tx.insertSecret(key, hash, lookup: lookup(text.reveal()))
            let details: AuditDetails = [
                "type": "apikey", "secret": .string(id.rawValue),
                "scopes": wish.scopes.map { .string(Permission.list($0)) } ?? .null,
            ]
            try tx.audit(.secretCreated, by: actor, on: user.id, details: details, services)
            try outbox?.notify(user, of: .signInMethodAdded("an API key"), in: collection, from: actor.client, tx)
            return key
        }
        return New(key: key, text: text)
    }

    /// A new primary key in place of the former one, which dies in the same transaction; name, scopes and lifetime stay.
    ///
    /// By the key itself its end stays too: it can't prolong its own life. By anybody else the keys go that keys of the user's have
    /// made: whoever had the former one may have made others.
    func reassign(of user: User, in collection: Collection, by actor: Actor) async throws -> New {
        let text = OpaqueToken(apiKey: services.random).text
        let hash = try await services.hasher.hash(text)
        let outbox = try await services.outboxIfOn()
        let now = services.clock.now()
        let id = SecretID(at: now, random: services.random)
        let key = try await services.write(as: actor) { [services] tx in
            guard try tx.user(user.id, in: collection.id) != nil else { throw AuthError(.notFound) }
            let old = try tx.primaryAPIKey(of: user.id)
            guard actor.apiKey == nil || actor.id != user.id || actor.apiKey == old?.id else {
                throw AuthError(.forbidden, "An API key can only reassign itself.")
            }
            if let old { try tx.removeSecret(old, at: now) }
            let removed = actor.apiKey == nil || actor.id != user.id ? try tx.removeAPIKeysOfKeys(of: user.id) : 0
            try tx.checkPlace(for: .apikey, of: user.id, max: Self.countMax)
            let expiresAt = old?.expiry(reassignedAt: now, isOwn: actor.apiKey == old?.id)
            let wish = Wish(name: old?.name, expiresAt: expiresAt, scopes: old?.scopes)
            var key = UserSecret(id, of: user.id, wish, isPrimary: true, at: now)
            // What replaces a key that a key has made is no better than it.
            key.issuer = actor.apiKey == nil ? nil : old?.issuer
            try tx.insertSecret(key, hash, lookup: lookup(text.reveal()))
            let details: AuditDetails = [
                "secret": .string(id.rawValue), "former": old.map { .string($0.id.rawValue) } ?? .null,
                "removed": .integer(Int64(removed)),
            ]
            try tx.audit(.apiKeyReassigned, by: actor, on: user.id, details: details, services)
            try outbox?.notify(user, of: .signInMethodAdded("an API key"), in: collection, from: actor.client, tx)
            return key
        }
        return New(key: key, text: text)
    }

    /// The key that a text is the value of; it may have expired.
    ///
    /// Argon2id runs once a key and process; afterwards both the text and the key are answered from memory. Throws
    /// `overloaded` when too many hashes wait.
    func find(_ text: String) async throws -> UserSecret? {
        guard Self.isPossible(text) else { return nil }
        let lookup = lookup(text)
        if let id = verified.id(lookup), let key = try await key(id) { return key }
        guard let stored = try await services.db.read({ tx in try tx.apiKey(lookup: lookup) }) else { return nil }
        let isVerified = try await verified.isVerified(lookup, as: stored.secret.id) { [services] in
            try await services.hasher.matches(Secret(text), stored.hash)
        }
        return isVerified ? try await key(stored.secret.id) : nil
    }

    /// What can't be a key never reaches the database: a mistyped one of ours, or what could not have been supplied.
    private static func isPossible(_ text: String) -> Bool {
        if text.hasPrefix(OpaqueToken.Kind.apiKey.rawValue) { return OpaqueToken(parsing: text, .apiKey) != nil }
        return SuppliedSecret.countRange.contains(text.utf8.count) && !text.hasPrefix("lk_")
    }

    private func key(_ id: SecretID) async throws -> UserSecret? {
        try await keys.value(for: id) { try await services.db.read { tx in try tx.apiKey(id) } }
    }

    private func lookup(_ text: String) -> Digest {
        services.sealingKey.digest(of: text, place: "apikey")
    }
}

extension UserSecret {
    fileprivate init(_ id: SecretID, of user: UserID, _ wish: APIKeys.Wish, isPrimary: Bool, at now: Timestamp) {
        self.init(
            id: id,
            userID: user,
            type: .apikey,
            name: wish.name,
            createdAt: now,
            lastUsedAt: nil,
            expiresAt: wish.expiresAt,
            scopes: wish.scopes,
            isPrimary: isPrimary,
            isPending: false
        )
    }

    /// As long again as it was given at first.
    fileprivate func expiry(reassignedAt now: Timestamp, isOwn: Bool) -> Timestamp? {
        guard let expiresAt, !isOwn else { return expiresAt }
        return now.advanced(bySeconds: Int(expiresAt.seconds(since: createdAt)))
    }
}
