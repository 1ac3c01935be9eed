import Foundation
import Logging
import Storage

/// The data directory made ready: the database migrated, the keys there. What the server and every command start from.
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
        do {
            // Digests, hashes and keys: nobody else may look in.
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        } catch {
            throw Unusable(description: "The data directory \(directory) can't be made: \(error.localizedDescription)")
        }
        let clock = WallClock { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
        let db = try SQLiteDatabase(path: directory + "/latchkey.db")
        let migrated = try await db.migrate(Schema.migrations, at: clock.now().milliseconds)
        if !migrated.isEmpty { logger.notice("The schema is up to date.", metadata: ["migrations": "\(migrated.map(\.name))"]) }
        let secrets = SigningSecrets(
            directory: directory,
            fixed: configuration.signingSecret,
            algorithm: configuration.signingAlgorithm
        )
        try secrets.prepare(random: .system)
        services = Services(
            db: db,
            clock: clock,
            random: .system,
            hasher: PasswordHasher(threads: HashingThreads(count: ProcessInfo.processInfo.activeProcessorCount)),
            sealingKey: try Self.sealingKey(configuration),
            signingSecrets: secrets,
            logger: logger
        )
        try await prepare()
    }

    private init(_ configuration: Configuration, services: Services) {
        self.configuration = configuration
        self.services = services
    }

    /// With services of a test's own, on a migrated database.
    static func prepared(_ configuration: Configuration, services: Services) async throws -> Installation {
        let installation = Installation(configuration, services: services)
        try await installation.prepare()
        return installation
    }

    private func prepare() async throws {
        try await FirstCollections(services: services).make()
        try await SigningSecretChange(services: services).notice()
    }

    /// Notices the writes of other processes until the task is cancelled.
    func watch() async throws {
        try await services.db.watch()
    }

    package func close() throws {
        try services.db.close()
    }

    /// From the environment or `<dataDir>/.sealing-key`, which is made when it isn't there.
    private static func sealingKey(_ configuration: Configuration) throws -> SealingKey {
        let path = configuration.dataDirectory + "/.sealing-key"
        if let bytes = configuration.sealingKey?.reveal(), let key = SealingKey(bytes: bytes) { return key }
        if !FileManager.default.fileExists(atPath: path) {
            let text = Data(Random.system.bytes(SealingKey.byteCount)).base64EncodedString()
            try PrivateFile.write(Array(text.utf8) + [0x0A], to: path)
        }
        let text = FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self).trimmed }
        guard let bytes = text.flatMap({ Base64.decode($0) }), let key = SealingKey(bytes: bytes) else {
            throw Unusable(
                description: "\(path) doesn't hold 32 bytes in base64. Restore it from a backup: what it sealed can't be read without it."
            )
        }
        return key
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
        try await services.db.write { tx in
            guard try tx.collections().isEmpty else { return }
            for collection in made { try tx.insertCollection(collection) }
        }
    }
}

/// Replacing `.secret` and restarting logs everyone out.
struct SigningSecretChange: Sendable {
    let services: Services

    /// Compares the secret with the one that was in force before. Unless that one was rotated away in good order, every session
    /// ends with the reason `secret_rotated`.
    func notice() async throws {
        let (current, previous) = try services.signingSecrets.fingerprints()
        guard try await services.db.read({ tx in try tx.signingFingerprint() }) != current else { return }
        let now = services.clock.now()
        try await services.db.write { [services] tx in
            let known = try tx.signingFingerprint()
            guard known != current else { return }
            try tx.putSigningFingerprint(current)
            tx.announce(Topic.signingKeys)
            guard let known, !previous.contains(known) else { return }
            try tx.endAllSessions(because: .secretRotated, at: now)
            try tx.audit(.signingSecretReplaced, by: .commandLine, services)
        }
    }

    /// `latchkey secret rotate`: a fresh secret; nobody is logged out unless asked for.
    func rotate(loggingEveryoneOut: Bool) async throws {
        let now = services.clock.now()
        try services.signingSecrets.rotate(keepingPrevious: !loggingEveryoneOut, at: now, random: services.random)
        let (current, _) = try services.signingSecrets.fingerprints()
        try await services.db.write { [services] tx in
            try tx.putSigningFingerprint(current)
            tx.announce(Topic.signingKeys)
            if loggingEveryoneOut { try tx.endAllSessions(because: .secretRotated, at: now) }
            let details: JSON = ["logout_everyone": .bool(loggingEveryoneOut)]
            try tx.audit(.signingSecretRotated, by: .commandLine, details: details, services)
        }
    }
}
