import Foundation
import Logging
import Storage

/// The data directory made ready: the database migrated, the keys there.
///
/// What the server and every command start from.
package struct Installation: Sendable {
    package let configuration: Configuration
    let services: Services

    /// What stops the start; the text says what to do.
    struct Unusable: Error, CustomStringConvertible {
        let description: String
    }

    /// Opens the data directory, or makes it.
    ///
    /// Throws errors whose description is for the operator.
    package init(_ configuration: Configuration, logger: Logger) async throws {
        self.configuration = configuration
        let directory = configuration.dataDirectory
        try Self.makeDirectory(directory)
        let clock = WallClock.system
        let db = try await Self.open(configuration, logger)
        let migrated = try await db.migrate(Schema.migrations, at: clock.now().milliseconds)
        if !migrated.isEmpty {
            logger.notice("The schema is up to date.", metadata: ["migrations": "\(migrated.map(\.name))"])
        }
        let secrets = SigningSecrets(
            file: SigningSecretFile(directory: directory),
            fixed: configuration.signingSecret,
            algorithm: configuration.signingAlgorithm,
            isShared: configuration.isShared
        )
        let memory = MemoryPlan(configuration)
        services = Services(
            db: db,
            clock: clock,
            random: .system,
            hasher: PasswordHasher(threads: HashingThreads(count: memory.hashingThreads)),
            sealingKey: try await SealingKeyFile(configuration).load(db),
            signingSecrets: secrets,
            ownAddress: OwnAddress(host: configuration.host, port: configuration.port),
            memory: memory,
            logger: logger
        )
        try await FirstCollections(services: services).make()
    }

    static func makeDirectory(_ path: String) throws {
        do {
            // Digests, hashes and keys: nobody else may look in.
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        } catch {
            throw Unusable(description: "The data directory \(path) can't be made: \(error.localizedDescription)")
        }
    }

    private static func open(_ configuration: Configuration, _ logger: Logger) async throws -> any Database {
        switch configuration.store {
        case .sqlite: return try SQLiteDatabase(path: configuration.dataDirectory + "/latchkey.db")
        case .postgres(let url, let limits):
            return try await PostgresDatabase.open(url.reveal(), limits) { report in
                switch report {
                case .away(let reason):
                    logger.error(
                        "The database can't be reached; requests are refused until it is back.",
                        metadata: ["cause": "\(reason)"]
                    )
                case .back: logger.notice("The database is back.")
                case .hears: logger.debug("Other nodes are heard: caches are used.")
                case .deaf(let reason):
                    logger.warning("Other nodes are not heard: caches are bypassed.", metadata: ["cause": "\(reason)"])
                }
            }
        }
    }

    private init(_ configuration: Configuration, services: Services) {
        self.configuration = configuration
        self.services = services
    }

    /// With services of a test's own, on a migrated database.
    static func prepared(_ configuration: Configuration, services: Services) async throws -> Installation {
        let installation = Installation(configuration, services: services)
        try await FirstCollections(services: services).make()
        try await installation.prepareSigning()
        return installation
    }

    /// Makes the signing secret if there is none, and notices that it was replaced.
    ///
    /// The server's alone; throws ``Unusable`` when the other nodes of the database sign with another one.
    func prepareSigning() async throws {
        try await SigningSecretChange(services: services).prepare()
    }

    /// Keeps other servers off the data directory; nil on PostgreSQL, which any number of them may share.
    ///
    /// Throws ``Unusable`` when another one serves it.
    func lockForServing() throws -> ServingLock? {
        switch configuration.store {
        case .sqlite: try ServingLock(directory: configuration.dataDirectory)
        case .postgres: nil
        }
    }

    /// Notices the writes of other processes until the task is cancelled.
    func watch() async throws {
        try await services.db.watch()
    }

    package func close() throws {
        try services.db.close()
    }
}

/// Where the sealing key comes from: the environment or `<dataDir>/.sealing-key`, which is made when there is neither.
private struct SealingKeyFile {
    let path: String
    let given: Secret<[UInt8]>?

    init(_ configuration: Configuration) {
        path = configuration.dataDirectory + "/.sealing-key"
        given = configuration.sealingKey
    }

    /// Throws ``Installation/Unusable`` when the key isn't the one that this database's secrets are sealed with.
    func load(_ db: any Database) async throws -> SealingKey {
        let known = try await db.read { tx in try tx.fingerprint(of: .sealing) }
        let bytes = try given?.reveal() ?? read() ?? make(unless: known != nil)
        guard let key = SealingKey(bytes: bytes) else {
            throw Installation.Unusable(
                description:
                    "\(path) doesn't hold 32 bytes in base64. Restore it from a backup: what it sealed can't be read without it."
            )
        }
        let fingerprint = SigningKey.fingerprint(of: Secret(bytes))
        guard known == nil || known == fingerprint else {
            throw Installation.Unusable(
                description:
                    "This is not the sealing key that the database's secrets are sealed with. Give that one, by LATCHKEY_SEALING_KEY or in \(path)."
            )
        }
        guard known == nil else { return key }
        // Of nodes that start at once with different keys, one is the first.
        let isFirst = try await db.writeAlone { tx in
            let known = try tx.fingerprint(of: .sealing)
            if known == nil { try tx.putFingerprint(fingerprint, of: .sealing) }
            return known == nil || known == fingerprint
        }
        return isFirst ? key : try await load(db)
    }

    private func read() throws -> [UInt8]? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        return FileManager.default.contents(atPath: path).flatMap {
            TextGate.text($0, as: .keyFile).flatMap { Base64.decode($0.trimmed) }
        } ?? []
    }

    private func make(unless isKnown: Bool) throws -> [UInt8] {
        guard !isKnown else {
            throw Installation.Unusable(
                description:
                    "The sealing key is missing. Set LATCHKEY_SEALING_KEY as the server has it, or restore \(path) from a backup."
            )
        }
        let bytes = Random.system.bytes(SealingKey.byteCount)
        try PrivateFile.write(Array(Data(bytes).base64EncodedString().utf8) + [0x0A], to: path)
        return bytes
    }
}

/// The collections that are there from the start.
struct FirstCollections: Sendable {
    static let usersName = "users"

    let services: Services

    /// Makes `_admins` and `users` in a database that has no collection yet.
    func make() async throws {
        let now = services.clock.now()
        let made = [Collection.adminsName, Self.usersName].map { name in
            var options = Collection.Options()
            options.registration = name != Collection.adminsName
            return Collection(
                id: CollectionID(at: now, random: services.random),
                name: name,
                schema: .empty,
                options: options,
                createdAt: now,
                updatedAt: now
            )
        }
        guard try await services.db.read({ tx in try tx.collections() }).isEmpty else { return }
        try await services.db.writeAlone { tx in
            guard try tx.collections().isEmpty else { return }
            for collection in made { try tx.insertCollection(collection) }
        }
    }
}

extension WallClock {
    static let system = WallClock { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
}
