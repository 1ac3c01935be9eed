import Storage
import Synchronization

/// What the database says, kept in memory while it is true: an entry dies with the write that changes it, before that
/// write is acknowledged in this process, and within ``Change/noticeMilliseconds`` of another process's.
///
/// While writes of other processes may go unnoticed (``Database/hearsOthers``), it is bypassed.
///
/// Bounded in bytes, by what its entries weigh; those not asked for lately go first.
final class Cache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Entry {
        let value: Value
        let bytes: Int
    }

    private struct State {
        var recent: [Key: Entry] = [:]
        var older: [Key: Entry] = [:]
        /// What the recent ones weigh.
        var recentBytes = 0
        /// Loads under way: how many, and whether a write came in between, so that what they read may be stale.
        var loads: [Key: (count: Int, isStale: Bool)] = [:]
    }

    /// What an entry weighs beside its value: its key, and its place in the table.
    static var entryBytes: Int { 128 }

    private let state = Mutex(State())
    private let bytesMax: Int
    private let weigh: @Sendable (Value) -> Int
    private let db: any Database

    /// Which entries a change makes wrong.
    enum Affected {
        case none
        case one(Key)
        case all
    }

    /// `weigh` tells about how many bytes a value takes, `affected` what a topic means for this cache.
    init(
        bytesMax: Int,
        of db: any Database,
        weighing weigh: @escaping @Sendable (Value) -> Int,
        affected: @escaping @Sendable (_ topic: String) -> Affected
    ) {
        self.bytesMax = bytesMax
        self.weigh = weigh
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
            if let entry = state.recent[key] { return entry.value }
            guard let entry = state.older.removeValue(forKey: key) else { return nil }
            insert(entry, for: key, into: &state)
            return entry.value
        }
    }

    /// What all entries weigh.
    var bytes: Int {
        state.withLock { state in state.recentBytes + state.older.values.reduce(0) { $0 + $1.bytes } }
    }

    private func finishLoad(of key: Key, with value: Value?) {
        let entry = value.map { Entry(value: $0, bytes: weigh($0) + Self.entryBytes) }
        state.withLock { state in
            guard var load = state.loads.removeValue(forKey: key) else { return }
            if let entry, !load.isStale { insert(entry, for: key, into: &state) }
            load.count -= 1
            if load.count > 0 { state.loads[key] = load }
        }
    }

    private func insert(_ entry: Entry, for key: Key, into state: inout State) {
        // One that would push out much of the rest is loaded each time.
        guard entry.bytes <= bytesMax / 4 else { return }
        if let former = state.recent.removeValue(forKey: key) { state.recentBytes -= former.bytes }
        if state.recentBytes + entry.bytes > bytesMax / 2 {
            state.older = state.recent
            state.recent = [:]
            state.recentBytes = 0
        }
        state.recent[key] = entry
        state.recentBytes += entry.bytes
    }

    private func remove(_ key: Key) {
        state.withLock { state in
            if let former = state.recent.removeValue(forKey: key) { state.recentBytes -= former.bytes }
            state.older[key] = nil
            if state.loads[key] != nil { state.loads[key]?.isStale = true }
        }
    }

    private func removeAll() {
        state.withLock { state in
            state.recent = [:]
            state.recentBytes = 0
            state.older = [:]
            for key in state.loads.keys { state.loads[key]?.isStale = true }
        }
    }
}

/// The one value of a cache without keys, such as the settings.
struct Unkeyed: Hashable, Sendable {}

extension JSON {
    /// About how many bytes it takes in memory, for caches to weigh it by.
    var memoryBytes: Int {
        let own = MemoryLayout<JSON>.stride
        return switch self {
        case .null, .bool, .integer, .number: own
        case .string(let text): own + text.memoryBytes
        case .array(let elements): elements.reduce(own + 32) { $0 + $1.memoryBytes }
        case .object(let members): members.reduce(own + 96) { $0 + 32 + $1.key.text.memoryBytes + $1.value.memoryBytes }
        }
    }
}

extension String {
    /// What it takes beside the value itself: short texts are in there.
    var memoryBytes: Int { utf8.count > 15 ? utf8.count + 32 : 0 }
}
