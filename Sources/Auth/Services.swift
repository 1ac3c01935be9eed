import Logging
import Storage
import Synchronization

/// What flows need of the world: the database, time, chance, hashing, keys, settings.
///
/// Made once, by ``App``, and by tests.
struct Services: Sendable {
    let db: any Database
    let clock: WallClock
    let random: Random
    let hasher: PasswordHasher
    let outbound: OutboundClient
    let sealingKey: SealingKey
    let signingSecrets: SigningSecrets
    let ownAddress: OwnAddress
    let memory: MemoryPlan
    let logger: Logger
    let lastSeen = LastSeen<Session> { tx, id, time in try tx.noteSessionSeen(id, at: time) }
    let lastUsed = LastSeen<UserSecret> { tx, id, time in try tx.noteSecretUsed(id, at: time) }
    /// Names this process among the nodes of its database.
    let nodeID: String
    let lastSettings: LastSettings
    let markedLists = MarkedLists()

    private let settingsCache: Cache<Unkeyed, Settings>
    private let collectionsCache: Cache<Unkeyed, CollectionIndex>
    private let keysCache: Cache<Unkeyed, SigningKeys>

    init(
        db: any Database,
        clock: WallClock,
        random: Random,
        hasher: PasswordHasher,
        outbound: OutboundClient = .live,
        sealingKey: SealingKey,
        signingSecrets: SigningSecrets,
        ownAddress: OwnAddress,
        memory: MemoryPlan,
        logger: Logger
    ) {
        self.db = db
        self.clock = clock
        self.random = random
        self.hasher = hasher
        self.outbound = outbound
        self.sealingKey = sealingKey
        self.signingSecrets = signingSecrets
        self.ownAddress = ownAddress
        self.memory = memory
        self.logger = logger
        nodeID = Hex.encode(random.bytes(8))
        lastSettings = LastSettings(of: db)
        settingsCache = Self.single(Topic.settings, db)
        collectionsCache = Self.single(Topic.collections, db)
        keysCache = Self.single(Topic.signingKeys, db)
    }

    var auditKey: AuditKey { sealingKey.audit }

    /// The settings in force.
    func settings() async throws -> Settings {
        if let settings = settingsCache.present(Unkeyed()) { return settings }
        let loaded = try await settingsCache.value(for: Unkeyed()) {
            let generation = lastSettings.generation
            let settings = try await loadSettings()
            lastSettings.note(settings, of: generation)
            return settings
        }
        return loaded ?? Settings(stored: [:])
    }

    /// The settings in force, or while the database is away or hangs those that were in force before: what a request is
    /// received by.
    ///
    /// Whatever a request is for needs the database itself.
    func settingsOrLast() async throws -> Settings {
        if let settings = settingsCache.present(Unkeyed()) { return settings }
        do {
            // Known to be replaced, they are waited for: a change that was acknowledged holds for the next request.
            guard let last = lastSettings.current else { return try await settings() }
            let answer = await lastSettings.looks.value { [self] in
                await Result { () async throws -> Settings in try await settings() }
            }
            return try answer?.get() ?? last
        } catch DatabaseError.unavailable {
            return lastSettings.value
        }
    }

    func collections() async throws -> CollectionIndex {
        if let collections = collectionsCache.present(Unkeyed()) { return collections }
        let loaded = try await collectionsCache.value(for: Unkeyed()) {
            CollectionIndex(try await db.read { tx in try tx.collections() })
        }
        return loaded ?? CollectionIndex([])
    }

    /// The built-in collection of the admins.
    func adminsCollection() async throws -> Collection {
        guard let admins = try await collections()[Collection.adminsName] else {
            throw AuthError(
                .unexpected,
                cause: DatabaseError.failed("the collection \(Collection.adminsName) is missing")
            )
        }
        return admins
    }

    /// Throws `unavailable` on a node that lacks the secret in force.
    func signingKeys() async throws -> SigningKeys {
        if let keys = keysCache.present(Unkeyed()) { return keys }
        let keys = try await keysCache.value(for: Unkeyed()) {
            try signingSecrets.keys(try await db.read { tx in try tx.storedSigningSecrets() }, sealingKey)
        }
        guard let keys else { throw AuthError(.unexpected) }
        return keys
    }

    /// Like ``Database/write(_:)``, for whoever acts: refused when their session or API key has ended since the request was
    /// admitted.
    ///
    /// A request may be held open for long before its body comes. Throws `session_ended`, `invalid_token`.
    func write<T: Sendable>(as actor: Actor, _ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        let now = clock.now()
        return try await db.write { tx in
            try tx.checkActing(actor, at: now)
            return try body(tx)
        }
    }

    private func loadSettings() async throws -> Settings {
        let stored = try await db.read { tx in try tx.storedSettings() }
        var values: [String: String] = [:]
        for setting in stored {
            guard setting.isSealed, !setting.value.isEmpty else {
                values[setting.key] = setting.value
                continue
            }
            if let secret = sealingKey.open(setting.value, place: SettingsChanges.place(setting.key)) {
                values[setting.key] = secret.reveal()
            } else {
                logger.error(
                    "A sealed setting can't be opened: it was sealed with another key.",
                    metadata: ["key": "\(setting.key)"]
                )
            }
        }
        return Settings(stored: values)
    }

    private static func single<Value>(_ topic: String, _ db: any Database) -> Cache<Unkeyed, Value> {
        // It holds one value and no more, whatever that weighs.
        Cache(bytesMax: .max, of: db, weighing: { _ in 0 }, affected: { $0 == topic ? .all : .none })
    }
}

extension Transaction {
    /// Throws `session_ended`, `invalid_token` for who can't act any more.
    func checkActing(_ actor: Actor, at now: Timestamp) throws {
        if let id = actor.session {
            let session = try session(id)
            if let reason = session == nil ? .deleted : session?.endReason(at: now) {
                throw AuthError(.sessionEnded, details: ["reason": reason.rawValue])
            }
        }
        guard let id = actor.apiKey, let user = actor.id else { return }
        guard let key = try secret(id, of: user), key.state(at: now) == .active,
            try self.user(user)?.status == .active
        else { throw AuthError(.invalidToken) }
    }
}

/// The settings that were read last, for what can't ask the database.
///
/// A class, since they change.
final class LastSettings: Sendable {
    /// A request waits no longer for the settings when there are earlier ones that nothing is known to have replaced.
    static let patienceMilliseconds = 1000

    private struct State {
        var settings = Settings(stored: [:])
        /// Counts the changes that were heard of.
        var generation = 0
        var isCurrent = false
    }

    private let state = Mutex(State())
    let looks = SharedAnswer<Result<Settings, any Error>>(
        patience: .milliseconds(patienceMilliseconds),
        isJoined: false
    )

    init(of db: any Database) {
        db.onChange { [weak self] change in
            if case .topics(let topics) = change, !topics.contains(Topic.settings) { return }
            self?.state.withLock { state in
                state.generation += 1
                state.isCurrent = false
            }
        }
    }

    var value: Settings { state.withLock { $0.settings } }

    /// Nil when they are known to have been replaced, or were never read.
    var current: Settings? { state.withLock { $0.isCurrent ? $0.settings : nil } }

    var generation: Int { state.withLock { $0.generation } }

    /// `generation` is the one before they were read.
    func note(_ settings: Settings, of generation: Int) {
        state.withLock { state in
            state.settings = settings
            if state.generation == generation { state.isCurrent = true }
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
