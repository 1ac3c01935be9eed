import Logging
import OrderedCollections
import Storage

/// What the command line can do to an installation, by the same flows as the API.
package struct Commands: Sendable {
    private let app: App
    private let services: Services

    package init(_ installation: Installation) {
        app = App(installation)
        services = installation.services
    }

    /// Throws `validation_failed`, `email_taken`.
    package func createAdmin(email: String, password: String) async throws {
        _ = try await app.accounts.createAdmin(email: email, password: Secret(password), by: .commandLine)
    }

    /// Ends the admin's sessions.
    ///
    /// Throws `not_found`, `validation_failed`.
    package func resetAdminPassword(email: String, password: String) async throws {
        let admins = try await services.adminsCollection()
        let name = SignInName(kind: .email, text: email)
        guard let admin = try await services.db.read({ tx in try tx.user(named: name, in: admins.id) }) else {
            throw AuthError(.notFound, "There is no admin with this email.")
        }
        let nothing = try RecordInput([:], for: .change, in: admins)
        _ = try await app.accounts.change(
            admin.id,
            in: admins,
            to: nothing,
            .init(password: Secret(password)),
            by: .commandLine
        )
    }

    /// Removes the second factor of an admin who has lost it.
    ///
    /// Throws `not_found`.
    package func disableAdminMFA(email: String) async throws {
        let admins = try await services.adminsCollection()
        let name = SignInName(kind: .email, text: email)
        guard let admin = try await services.db.read({ tx in try tx.user(named: name, in: admins.id) }) else {
            throw AuthError(.notFound, "There is no admin with this email.")
        }
        try await app.factors.reset(admin.id, in: admins, by: .commandLine)
    }

    /// A system user with its first API key, which is told this once.
    ///
    /// Throws `not_found` for the collection, `validation_failed`, `username_taken`.
    package func createSystemUser(named username: String, in collection: String) async throws -> (
        id: String, key: String
    ) {
        guard let collection = try await services.collections()[collection], !collection.isAdmins else {
            throw AuthError(.notFound, "There is no such collection of users.")
        }
        let new = Accounts.NewAccount(kind: .system, status: .active, isEmailVerified: false, handled: [])
        let body: JSON.Members = ["username": .string(username)]
        let user = try await app.accounts.create(new, body, in: collection, by: .commandLine)
        let key = try await app.apiKeys.reassign(of: user, in: collection, by: .commandLine)
        return (user.id.rawValue, key.text.reveal())
    }

    /// A new primary API key; the former one is dead.
    ///
    /// Throws `not_found`.
    package func reassignAPIKey(of id: String) async throws -> String {
        guard let id = UserID(rawValue: id), let user = try await services.db.read({ tx in try tx.user(id) }),
            let collection = try await services.collections()[id: user.collectionID]
        else { throw AuthError(.notFound, "There is no user with this id.") }
        return try await app.apiKeys.reassign(of: user, in: collection, by: .commandLine).text.reveal()
    }

    /// Goes through the audit log; `progress` is told how many rows are done.
    ///
    /// `checkpoint` is the text of one that was kept elsewhere, `segments` the directory of exported files. Returns a sentence, and whether the log is as it was written.
    /// Throws `validation_failed` for what is no checkpoint.
    package func verifyAudit(
        against checkpoint: String?,
        segments directory: String?,
        progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> (text: String, isSound: Bool) {
        var kept: AuditCheckpoint?
        if let checkpoint {
            kept = JSON(parsing: checkpoint).flatMap(AuditCheckpoint.init)
            guard kept != nil else { throw AuthError.validation(["checkpoint": "can't be read"]) }
        }
        let report = try await AuditVerification(services: services).run(
            against: kept,
            segments: directory,
            progress: progress
        )
        if let problem = report.problem { return (problem, false) }
        let waiting = report.waiting == 0 ? "" : " \(report.waiting) more wait for the server to link them."
        let closed =
            report.segments == 0
            ? "" : " \(report.closed) of them were exported, in \(report.segments) closed segments."
        return ("\(report.linked) rows are as they were written.\(closed)\(waiting)", true)
    }

    /// The newest linked row of the audit log, signed, on one line; nil while there is none.
    package func auditCheckpoint() async throws -> String? {
        try await app.chain.checkpoint()?.json.serialized
    }

    /// All settings, or the one of `key`, secrets masked.
    ///
    /// Throws `not_found`.
    package func settings(_ key: String?) async throws -> [(key: String, value: String)] {
        let all = try await app.settingsChanges.all()
        guard let key else { return all.map { ($0.key, $0.value) } }
        guard let value = all[key] else { throw AuthError(.notFound, "\(key) is not a setting.") }
        return [(key, value)]
    }

    /// Returns warnings by key.
    ///
    /// Throws `validation_failed`.
    package func set(_ changes: [String: String?]) async throws -> [String: String] {
        try await app.settingsChanges.set(changes, by: .commandLine)
    }

    package func rotateSecret(loggingEveryoneOut: Bool) async throws {
        try await SigningSecretChange(services: services).rotate(loggingEveryoneOut: loggingEveryoneOut)
    }

    /// The steps that the schema is made of; opening the installation has run them.
    package func schemaSteps() async throws -> String {
        Schema.migrations.map { "\($0.number) \($0.name)" }.joined(separator: ", ")
    }
}

/// An error as the command line tells it.
package struct Refusal: CustomStringConvertible {
    private let error: any Error

    package init(_ error: any Error) {
        self.error = error
    }

    package var description: String {
        switch error {
        case let error as AuthError:
            ([error.message ?? error.code.text]
                + error.details.sorted { $0.key < $1.key }.map { "  \($0.key) \($0.value)" })
                .joined(separator: "\n")
        case DatabaseError.schema(let text): text
        case DatabaseError.unavailable(let text): "The database can't be used: \(text)"
        default: String(describing: error)
        }
    }
}

/// A log message as a JSON line.
package enum LogLine {
    package static func text(level: Logger.Level, message: String, _ values: [String: String]) -> String {
        let own: JSON = ["level": .string(level.rawValue), "message": .string(message)]
        guard case .object(let others) = JSON(values) else { return own.serialized }
        return own.merging(others).serialized
    }
}
