import Foundation
import Synchronization

@testable import Storage

/// A database of its own on the PostgreSQL that `scripts/with-postgres` started.
package struct PostgresHome: Sendable {
    package let name: String

    struct Missing: Error, CustomStringConvertible {
        let description =
            "No PostgreSQL: run the tests by `make test` or `scripts/with-postgres swift test`, or set LATCHKEY_TEST_ENGINES=sqlite."
    }

    /// The server's URL with this database's name.
    package var url: String { Self.url(of: name) }

    /// A copy of a database that has run these migrations.
    ///
    /// Waits while many others are open: their connections are limited.
    package static func make(_ migrations: [Migration] = []) async throws -> PostgresHome {
        await places.take()
        do {
            let template = migrations.isEmpty ? "template0" : try await templates.name(for: migrations)
            let home = PostgresHome(name: "test_" + UUID().uuidString.lowercased().replacing("-", with: ""))
            try await maintain("CREATE DATABASE \(home.name) TEMPLATE \(template)")
            return home
        } catch {
            places.give()
            throw error
        }
    }

    package func open(connections: Int = 4, searches: SearchLimits = SearchLimits()) async throws -> PostgresDatabase {
        try await PostgresDatabase.open(
            url,
            PostgresLimits(connections: connections, waitMilliseconds: 60_000, searches: searches)
        )
    }

    /// Returns at once; others get its place when its connections have ended.
    package func drop() {
        let name = name
        Task {
            try? await Self.maintain("DROP DATABASE \(name) WITH (FORCE)")
            Self.places.give()
        }
    }

    /// Runs a statement that can't be part of a transaction, on the server's own database.
    package static func maintain(_ statement: String) async throws {
        guard let maintenance else { throw Missing() }
        try await maintenance.run { slot in _ = try slot.take().run(statement, []) }
    }

    private static let maintenance: PostgresPool? = ProcessInfo.processInfo.environment["LATCHKEY_TEST_POSTGRES"].map {
        PostgresPool([("dbname", $0)], PostgresLimits(connections: 3, waitMilliseconds: 60_000)) { _ in }
    }
    private static let places = Places(count: 32)
    private static let templates = Templates()

    fileprivate static func url(of name: String) -> String {
        let server = ProcessInfo.processInfo.environment["LATCHKEY_TEST_POSTGRES"] ?? ""
        return server.replacing("/postgres?", with: "/\(name)?")
    }
}

/// The databases that others are copied from: one for each list of migrations.
private actor Templates {
    private var made: [String: Task<String, any Error>] = [:]

    func name(for migrations: [Migration]) async throws -> String {
        let digest = Migration(0, "all", migrations.map(\.digest).joined()).digest
        let task = made[digest] ?? Task { try await Self.make("template_" + digest.prefix(40), migrations) }
        made[digest] = task
        return try await task.value
    }

    private static func make(_ name: String, _ migrations: [Migration]) async throws -> String {
        try await PostgresHome.maintain("CREATE DATABASE \(name) TEMPLATE template0")
        let db = try await PostgresDatabase.open(PostgresHome.url(of: name), PostgresLimits(connections: 1))
        try await db.migrate(migrations, at: 0)
        db.close()
        return name
    }
}

/// So many at once, in the order in which they ask, and one more whenever nothing has moved for a while.
///
/// A test may hold a database and ask for another: without the exception, enough of them wait for each other for ever.
private final class Places: Sendable {
    private static let patience = Duration.seconds(1)

    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
        var movedAt = ContinuousClock.now
        var isWatched = false
    }

    private let state: Mutex<State>

    init(count: Int) {
        state = Mutex(State(free: count))
    }

    func take() async {
        await withCheckedContinuation { continuation in
            let (isFree, mustWatch) = state.withLock { state in
                guard state.free <= 0 else {
                    state.free -= 1
                    state.movedAt = .now
                    return (true, false)
                }
                state.waiting.append(continuation)
                defer { state.isWatched = true }
                return (false, !state.isWatched)
            }
            if isFree { continuation.resume() }
            if mustWatch { Task { await watch() } }
        }
    }

    func give() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.movedAt = .now
            guard state.free >= 0, !state.waiting.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }

    /// As long as somebody waits.
    private func watch() async {
        while true {
            try? await Task.sleep(for: Self.patience / 4)
            let (next, isOver) = state.withLock { state -> (CheckedContinuation<Void, Never>?, Bool) in
                guard !state.waiting.isEmpty else {
                    state.isWatched = false
                    return (nil, true)
                }
                guard state.movedAt.duration(to: .now) > Self.patience else { return (nil, false) }
                state.movedAt = .now
                state.free -= 1
                return (state.waiting.removeFirst(), false)
            }
            next?.resume()
            if isOver { return }
        }
    }
}
