import Storage
import Synchronization

/// Notes when sessions or API keys are used, and writes it down in batches: a request never waits for it.
///
/// A class, since it gathers over requests.
final class LastSeen<Subject>: Sendable {
    /// A note is renewed at most so often.
    static var noteSeconds: Int64 { 60 }
    static var countMax: Int { 20_000 }
    /// Written in one transaction.
    static var batchMax: Int { 200 }

    private struct State {
        var noted: [Identifier<Subject>: Timestamp] = [:]
        var unwritten: Set<Identifier<Subject>> = []
    }

    private let state = Mutex(State())
    private let write: @Sendable (Transaction, Identifier<Subject>, Timestamp) throws -> Void

    init(write: @escaping @Sendable (Transaction, Identifier<Subject>, Timestamp) throws -> Void) {
        self.write = write
    }

    /// `last` is when it was used before, as far as the caller knows.
    func note(_ id: Identifier<Subject>, last: Timestamp?, at now: Timestamp) {
        if let last, now.seconds(since: last) < Self.noteSeconds { return }
        state.withLock { state in
            if let last = state.noted[id], now.seconds(since: last) < Self.noteSeconds { return }
            guard state.noted.count < Self.countMax else { return }
            state.noted[id] = now
            state.unwritten.insert(id)
        }
    }

    /// Writes what was noted since the last flush.
    ///
    /// What can't be written is lost: it is a note, not a fact that anything is decided by.
    func flush(to db: any Database) async throws {
        let notes = state.withLock { state in
            defer { state.unwritten = [] }
            return state.unwritten.compactMap { id in state.noted[id].map { (id, $0) } }
        }
        // In one order, or two nodes with the same notes would wait for each other.
        let sorted = notes.sorted { $0.0.rawValue < $1.0.rawValue }
        for start in stride(from: 0, to: sorted.count, by: Self.batchMax) {
            let batch = sorted[start..<min(start + Self.batchMax, sorted.count)]
            try await db.write { [write] tx in
                for (id, time) in batch { try write(tx, id, time) }
            }
        }
    }

    /// Forgets notes that are old enough to be made again.
    func forget(at now: Timestamp) {
        state.withLock { state in
            state.noted = state.noted.filter { id, noted in
                now.seconds(since: noted) < Self.noteSeconds || state.unwritten.contains(id)
            }
        }
    }
}
