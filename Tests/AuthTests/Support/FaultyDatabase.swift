import Storage
import Synchronization

/// A database that fails a chosen statement of the writes.
final class FaultyDatabase: Database {
    struct Fault: Error {}

    private let inner: any Database
    private let left = Mutex<Int?>(nil)

    init(_ inner: any Database) {
        self.inner = inner
    }

    /// The `number`-th write statement from now on fails, counted from 1; nil ends it.
    ///
    /// Tells whether an earlier order was reached.
    @discardableResult
    func failWrite(_ number: Int?) -> Bool {
        left.withLock { left in
            defer { left = number }
            return left == 0
        }
    }

    var dialect: Dialect { inner.dialect }

    func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await inner.read(body)
    }

    func search<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await inner.search(body)
    }

    func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await inner.write { tx in try self.run(body, in: tx) }
    }

    func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        try await inner.writeAlone { tx in try self.run(body, in: tx) }
    }

    private func run<T>(_ body: (Transaction) throws -> T, in tx: Transaction) throws -> T {
        let faulty = Transaction(
            connection: FaultyConnection(inner: tx.connection, database: self),
            dialect: tx.dialect
        )
        let value = try body(faulty)
        for topic in faulty.topics {
            if faulty.toldTopics.contains(topic) { tx.announce(topic) } else { tx.announceHere(topic) }
        }
        return value
    }

    func onChange(_ handler: @escaping @Sendable (Change) -> Void) { inner.onChange(handler) }
    func watch() async throws { try await inner.watch() }
    var hearsOthers: Bool { inner.hearsOthers }
    var damage: String? { inner.damage }
    func tell(_ topics: [String]) async throws { try await inner.tell(topics) }
    func close() throws { try inner.close() }

    fileprivate func isFaulty() -> Bool {
        left.withLock { left in
            guard let count = left, count > 0 else { return false }
            left = count - 1
            return count == 1
        }
    }
}

private struct FaultyConnection: Connection {
    let inner: any Connection
    let database: FaultyDatabase

    func run(_ text: String, _ values: [Value]) throws -> (rows: [Row], changes: Int) {
        if database.isFaulty() { throw FaultyDatabase.Fault() }
        return try inner.run(text, values)
    }
}
