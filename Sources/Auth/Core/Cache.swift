import Storage
import Synchronization

/// What the database says, kept in memory while it is true: an entry dies with the write that changes it, before that
/// write is acknowledged in this process, and within ``Change/noticeMilliseconds`` of another process's.
///
/// While writes of other processes may go unnoticed (``Database/hearsOthers``), it is bypassed.
///
/// Bounded: it holds at most twice `capacity` entries; those not asked for lately go first.
final class Cache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct State {
        var recent: [Key: Value] = [:]
        var older: [Key: Value] = [:]
        /// Loads under way: how many, and whether a write came in between, so that what they read may be stale.
        var loads: [Key: (count: Int, isStale: Bool)] = [:]
    }

    private let state = Mutex(State())
    private let capacity: Int
    private let db: any Database

    /// Which entries a change makes wrong.
    enum Affected {
        case none
        case one(Key)
        case all
    }

    /// `affected` says what a topic means for this cache.
    init(capacity: Int, of db: any Database, affected: @escaping @Sendable (_ topic: String) -> Affected) {
        self.capacity = capacity
        self.db = db
        db.onChange { [weak self] change in
            guard case .topics(let topics) = change else {
                self?.removeAll()
                return
            }
            for topic in topics {
                switch affected(topic) {
                case .none: break
                case .one(let key): self?.remove(key)
                case .all: self?.removeAll()
                }
            }
        }
    }

    /// The entry, or what `load` finds; a load that a write overtook is answered but not kept.
    func value(for key: Key, load: () async throws -> Value?) async throws -> Value? {
        if let value = present(key) { return value }
        guard db.hearsOthers else { return try await load() }
        state.withLock { $0.loads[key, default: (0, false)].count += 1 }
        var loaded: Value?
        defer { finishLoad(of: key, with: loaded) }
        loaded = try await load()
        return loaded
    }

    /// What `load` finds, in the place of the entry.
    func renewed(for key: Key, load: () async throws -> Value?) async throws -> Value? {
        remove(key)
        return try await value(for: key, load: load)
    }

    /// The entry, without a load.
    func present(_ key: Key) -> Value? {
        guard db.hearsOthers else { return nil }
        return state.withLock { state in
            if let value = state.recent[key] { return value }
            guard let value = state.older.removeValue(forKey: key) else { return nil }
            insert(value, for: key, into: &state)
            return value
        }
    }

    private func finishLoad(of key: Key, with value: Value?) {
        state.withLock { state in
            guard var load = state.loads.removeValue(forKey: key) else { return }
            if let value, !load.isStale { insert(value, for: key, into: &state) }
            load.count -= 1
            if load.count > 0 { state.loads[key] = load }
        }
    }

    private func insert(_ value: Value, for key: Key, into state: inout State) {
        if state.recent.count >= capacity {
            state.older = state.recent
            state.recent = [:]
        }
        state.recent[key] = value
    }

    private func remove(_ key: Key) {
        state.withLock { state in
            state.recent[key] = nil
            state.older[key] = nil
            if state.loads[key] != nil { state.loads[key]?.isStale = true }
        }
    }

    private func removeAll() {
        state.withLock { state in
            state.recent = [:]
            state.older = [:]
            for key in state.loads.keys { state.loads[key]?.isStale = true }
        }
    }
}

/// The one value of a cache without keys, such as the settings.
struct Unkeyed: Hashable, Sendable {}
