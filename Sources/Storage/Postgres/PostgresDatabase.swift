import CLibPQ
import Foundation

/// PostgreSQL over libpq: transactions on a pool of threads with a connection each, and one connection more that hears
/// what other nodes did.
///
/// Serializable transactions are run again when they lose a conflict; a lost connection is made anew. CockroachDB and
/// YugabyteDB speak the same protocol; without notifications, caches are bypassed there.
package final class PostgresDatabase: Database {
    package let dialect = Dialect.postgres
    /// Older ones are not tested, and get no fixes any more.
    static let versionMin = 12

    private let pool: PostgresPool
    private let transactions: PostgresTransactions
    private let changes = ChangeFeed()
    private let notices = PostgresNotices()
    private let listener: PostgresListener
    private let searches: SearchLimits
    private let damages = Damage()

    /// Held by ``writeAlone(_:)``; the number is "latchkey" in ASCII.
    private static let aloneLock: Int64 = 0x6C61_7463_686B_6579

    /// Connects once, so that a start that can't go well fails at once.
    ///
    /// `url` is a connection URI of libpq, `postgres://user:password@host:port/name?sslmode=verify-full`. Throws
    /// ``DatabaseError/unavailable(_:)`` saying what to do, and ``DatabaseError/schema(_:)`` for a server that is too
    /// old.
    package static func open(
        _ url: String,
        _ limits: PostgresLimits = PostgresLimits(),
        report: @escaping @Sendable (PostgresReport) -> Void = { _ in }
    ) async throws -> PostgresDatabase {
        let parameters = Self.parameters(url)
        try await Self.checkServer(parameters)
        return PostgresDatabase(parameters, limits, report)
    }

    private init(
        _ parameters: [(String, String)],
        _ limits: PostgresLimits,
        _ report: @escaping @Sendable (PostgresReport) -> Void
    ) {
        pool = PostgresPool(parameters, limits, report: report)
        searches = limits.searches
        transactions = PostgresTransactions(changes: changes, notices: notices, damages: damages)
        listener = PostgresListener(
            connect: { [pool] in try pool.openConnection() },
            notices,
            changes,
            report: report
        )
    }

    /// What is wrong with a URL; nil when libpq can read it.
    package static func problem(with url: String) -> String? {
        guard url.hasPrefix("postgres://") || url.hasPrefix("postgresql://") else {
            return "must begin with postgres://"
        }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &message) else {
            defer { PQfreemem(message) }
            // libpq quotes the part that it can't read, which may be a password.
            return "can't be read as postgres://user:password@host:port/name?option=value"
        }
        defer { PQconninfoFree(options) }
        // A password whose @, / or : is not percent-encoded ends up in another part, which errors would quote.
        var option = options
        while let keyword = option.pointee.keyword {
            let value = option.pointee.val.map { String(cString: $0) } ?? ""
            let isOdd =
                switch String(cString: keyword) {
                case "host", "hostaddr", "dbname": value.contains("@")
                case "port": !value.allSatisfy { $0.isNumber || $0 == "," }
                default: false
                }
            if isOdd { return "can't be read; special characters of a password must be percent-encoded" }
            option += 1
        }
        return nil
    }

    package func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await pool.run { [transactions] slot in try transactions.run(.read, on: slot, body) }
    }

    package func search<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        let end = SearchEnd(searches)
        return try await end.whileWanted {
            try await pool.run(.search, until: end) { [transactions] slot in
                try transactions.search(on: slot, until: end, body)
            }
        }
    }

    package var damage: String? { damages.recent }

    package func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await pool.run { [transactions] slot in try transactions.run(.write, on: slot, body) }
    }

    /// The lock is taken before the transaction begins: one that began earlier would not see what its predecessor did.
    package func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await pool.run { [transactions] slot in
            // The connection goes afterwards, and the lock and the lifted limits with it.
            defer { slot.drop() }
            return try transactions.run(.write, on: slot) { connection in
                guard connection.hasSession else { return }
                _ = try connection.run(
                    """
                    SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false),
                        set_config('idle_in_transaction_session_timeout', '0', false)
                    """,
                    []
                )
                connection.answerMilliseconds = nil
                _ = try connection.run("SELECT pg_advisory_lock($1)", [.integer(Self.aloneLock)])
            } _: {
                try body($0)
            }
        }
    }

    package func onChange(_ handler: @escaping @Sendable (Change) -> Void) {
        changes.subscribe(handler)
    }

    package func watch() async throws {
        await listener.run()
    }

    package var hearsOthers: Bool { listener.hears }

    package func tell(_ topics: [String]) async throws {
        let payloads = notices.payloads(topics, isWrite: false)
        guard !payloads.isEmpty else { return }
        try await pool.run { slot in
            let connection = try slot.take()
            guard connection.hasSession else { return }
            for payload in payloads {
                _ = try connection.run("SELECT pg_notify($1, $2)", [.text(PostgresNotices.channel), .text(payload)])
            }
        }
    }

    package func close() {
        listener.stop()
        pool.close()
    }

    // Connecting

    /// The later ones of the same name count: the URL can change what stands before it.
    private static func parameters(_ url: String) -> [(String, String)] {
        [
            ("fallback_application_name", "latchkey"), ("connect_timeout", "5"), ("keepalives_idle", "30"),
            // A standby lags behind: what ended on the primary would still be alive there.
            ("target_session_attrs", "read-write"), ("dbname", url), ("client_encoding", "UTF8"),
        ]
    }

    private static func checkServer(_ parameters: [(String, String)]) async throws {
        let checking = PostgresPool(parameters, PostgresLimits(connections: 1, waitMilliseconds: 60_000)) { _ in }
        defer { checking.close() }
        do {
            try await checking.run { slot in
                let connection = try slot.take()
                try Self.check(version: connection.socket.serverVersion, isPostgres: connection.hasSession)
            }
        } catch DatabaseError.unavailable(let message) {
            throw DatabaseError.unavailable("\(message) \(Self.advice(on: message))")
        }
    }

    /// `version` as libpq has it: 150_018 for 15.18.
    static func check(version: Int, isPostgres: Bool) throws {
        guard isPostgres, version < versionMin * 10_000 else { return }
        throw DatabaseError.schema(
            "PostgreSQL \(version / 10_000) is too old: \(versionMin) or newer is needed. Upgrade the server first."
        )
    }

    private static func advice(on message: String) -> String {
        if message.contains("read-only") {
            "This server is a standby: name the primary, or all servers, in the database URL."
        } else if message.contains("connection option") {
            "Check the database URL."
        } else if message.contains("password") {
            "Check the user and the password in the database URL; a password's special characters must be percent-encoded."
        } else if message.contains("does not exist") {
            "Create it first, e.g. `createuser --pwprompt latchkey` and `createdb --owner latchkey latchkey`."
        } else if message.contains("pg_hba.conf") || message.contains("SSL") || message.contains("certificate") {
            "Check the server's pg_hba.conf and the sslmode of the database URL."
        } else {
            "Is PostgreSQL running there, and may this machine reach it?"
        }
    }
}
