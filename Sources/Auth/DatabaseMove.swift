import Foundation
import Storage

/// `latchkey move`: all that one database holds into a new one, of either engine, while no server runs.
package struct DatabaseMove: Sendable {
    private let source: any Database
    private let target: any Database

    /// A place is `postgres://…`, or a data directory or database file of SQLite, with or without `sqlite:` before it.
    ///
    /// Both get the schema of this version. Throws errors whose description is for the operator.
    package init(from sourcePlace: String, to targetPlace: String) async throws {
        source = try await Self.open(sourcePlace, isNew: false)
        target = try await Self.open(targetPlace, isNew: true)
        for db in [source, target] { try await db.migrate(Schema.migrations, at: WallClock.system.now().milliseconds) }
    }

    /// Refuses a source that a server works on.
    ///
    /// The lease tells: a living server renews it. One that was killed leaves it behind, which takes some seconds to tell
    /// from one that is alive; `waiting` is told then.
    package func checkOffline(waiting: @Sendable () -> Void) async throws {
        guard let lease = try await lease() else { return }
        waiting()
        for _ in 0..<(2 * Lease.beatSeconds + 1) {
            try await Task.sleep(for: .seconds(1))
            try await checkUnchanged(lease)
        }
    }

    /// Copies and compares.
    package func run(reporting report: @escaping @Sendable (Move.Progress) -> Void) async throws -> [Move.Copied] {
        let before = try await lease()
        return try await Move(from: source, to: target).run(reporting: report) { try await checkUnchanged(before) }
    }

    package func close() throws {
        try source.close()
        try target.close()
    }

    private func lease() async throws -> LeaseState? {
        try await source.read { tx in try tx.lease(Lease.background) }
    }

    private func checkUnchanged(_ lease: LeaseState?) async throws {
        guard try await self.lease() != lease else { return }
        throw Installation.Unusable(
            description: "A server works on the database to move from. Stop every node of it first; nothing was moved."
        )
    }

    private static func open(_ place: String, isNew: Bool) async throws -> any Database {
        if place.hasPrefix("postgres") && place.contains("://") {
            if let problem = PostgresDatabase.problem(with: place) {
                throw Installation.Unusable(description: "The database URL \(problem).")
            }
            return try await PostgresDatabase.open(place)
        }
        var path = place.hasPrefix("sqlite:") ? String(place.dropFirst("sqlite:".count)) : place
        if path.hasPrefix("//") { path = String(path.dropFirst(2)) }
        if !path.hasSuffix(".db") { path += "/latchkey.db" }
        if !isNew && !FileManager.default.fileExists(atPath: path) {
            throw Installation.Unusable(description: "There is no database at \(path).")
        }
        try Installation.makeDirectory(URL(fileURLWithPath: path).deletingLastPathComponent().path)
        return try SQLiteDatabase(path: path)
    }
}

extension [Move.Copied] {
    /// One digest over those of all tables: two databases that have the same hold the same.
    package var digest: String {
        let lines = map { "\($0.table) \($0.rows) \($0.digest)\n" }.sorted()
        return Hex.encode(Digest(of: lines.joined()).bytes[...])
    }
}
