import Foundation
import Storage

/// `latchkey move`: all that one database holds into a new one, of either engine, while no server runs.
package struct DatabaseMove: Sendable {
    private let source: any Database
    private let target: any Database

    /// A place is `postgres://…`, or a data directory or database file of SQLite, with or without `sqlite:` before it.
    ///
    /// Throws errors whose description is for the operator.
    package init(from sourcePlace: String, to targetPlace: String) async throws {
        source = try await Self.open(sourcePlace, isNew: false)
        target = try await Self.open(targetPlace, isNew: true)
    }

    /// Refuses a source that a server works on or that has an older schema, and a target that holds something; then makes
    /// the target's tables.
    ///
    /// A server shows by the lease: its holder renews it, and when that one has ended, another takes it over. To see
    /// nothing of it takes some seconds, of which `waiting` is told.
    package func prepare(waiting: @Sendable () -> Void) async throws {
        guard try await source.missing(of: Schema.migrations).isEmpty else {
            throw Installation.Unusable(
                description: "The database to move from has an older schema. Run `latchkey migrate` on it first."
            )
        }
        try await target.checkEmpty()
        let (lease, wasServed) = try await source.read { tx in
            (try tx.lease(Lease.background), try tx.fingerprint(of: .signing) != nil)
        }
        if wasServed {
            waiting()
            let seconds = lease == nil ? Lease.beatSeconds + 1 : Int(Lease.lostSeconds) + 2 * Lease.beatSeconds
            for _ in 0..<seconds {
                try await Task.sleep(for: .seconds(1))
                try await checkUnchanged(lease)
            }
        }
        try await target.migrate(Schema.migrations, at: WallClock.system.now().milliseconds)
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
