import ServiceLifecycle
import Storage
import Synchronization

/// Notes when sessions are used, and writes it down in batches: a request never waits for it.
///
/// A class, since it gathers over requests.
final class LastSeen: Sendable {
    /// A session's note is renewed at most so often.
    static let noteSeconds: Int64 = 60
    static let sessionsMax = 100_000
    /// Written in one transaction.
    static let batchMax = 200

    private struct State {
        var noted: [SessionID: Timestamp] = [:]
        var unwritten: Set<SessionID> = []
    }

    private let state = Mutex(State())

    func note(_ session: Session, at now: Timestamp) {
        guard now.seconds(since: session.lastSeenAt) >= Self.noteSeconds else { return }
        state.withLock { state in
            if let last = state.noted[session.id], now.seconds(since: last) < Self.noteSeconds { return }
            guard state.noted.count < Self.sessionsMax else { return }
            state.noted[session.id] = now
            state.unwritten.insert(session.id)
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
        // In one order, or two nodes with notes of the same sessions would wait for each other.
        let sorted = notes.sorted { $0.0.rawValue < $1.0.rawValue }
        for start in stride(from: 0, to: sorted.count, by: Self.batchMax) {
            let batch = sorted[start..<min(start + Self.batchMax, sorted.count)]
            try await db.write { tx in
                for (id, time) in batch { try tx.noteSessionSeen(id, at: time) }
            }
        }
    }

    /// Forgets notes that are old enough to be made again.
    func forget(before time: Timestamp) {
        state.withLock { state in
            state.noted = state.noted.filter { id, noted in noted > time || state.unwritten.contains(id) }
        }
    }
}
