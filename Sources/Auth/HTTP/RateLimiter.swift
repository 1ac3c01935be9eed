import Storage
import Synchronization

/// Counts requests by address, together with the other nodes of the database: a sliding window of two halves, bounded in memory.
///
/// The count of the window before fades out linearly, so no burst passes twice at a boundary. Nodes tell each other what
/// they counted several times a second: within that time an address may pass on each of them. A class, since it counts over
/// requests.
final class RateLimiter: Sendable {
    /// Addresses kept; beyond, the counts of windows that are over go first.
    static let addressesMax = 50_000

    private struct Key: Hashable {
        let label: RateRules.Label
        let address: String
    }

    private struct Count {
        var window: Int64
        /// Milliseconds since 1970; from then on it weighs nothing.
        var staleAt: Int64
        var current = 0
        var previous = 0
        /// Of this node, not told to the others yet.
        var untold = 0
    }

    private struct State {
        var counts: [Key: Count] = [:]
        var untold: Set<Key> = []
        /// By other nodes, not counted yet.
        var told: [Key: Int] = [:]
    }

    private let state = Mutex(State())
    private let isShared: Bool

    /// `isShared` where other nodes count too.
    init(isShared: Bool = false) {
        self.isShared = isShared
    }

    /// Nil when the request may pass, else the seconds to wait.
    ///
    /// A refused request is not counted.
    func admit(_ address: String, as label: RateRules.Label, by rule: RateRules.Rule, at now: Timestamp) -> Int? {
        let length = Int64(rule.seconds) * 1000
        let elapsed = now.milliseconds % length
        let key = Key(label: label, address: AddressRange.limitKey(address))
        return state.withLock { state in
            var count = Self.count(of: key, in: &state, length: length, at: now)
            // In thousandths, to stay with integers.
            let weighed = Int64(count.current) * length + Int64(count.previous) * (length - elapsed)
            guard weighed + length <= Int64(rule.count) * length else {
                state.counts[key] = count
                return Int((Self.wait(count, rule, length: length, elapsed: elapsed) + 999) / 1000)
            }
            count.current += 1
            if isShared {
                count.untold += 1
                if count.current * Self.toldShare >= rule.count { state.untold.insert(key) }
            }
            state.counts[key] = count
            return nil
        }
    }

    // Between nodes

    /// An address is told to the other nodes once it has used up this part of its limit here.
    static let toldShare = 5
    /// Addresses told at once.
    static let toldMax = 2000

    /// What this node counted since the last call and the others should know, as topics.
    func takeUntold() -> [String] {
        state.withLock { state in
            let keys = state.untold.prefix(Self.toldMax)
            state.untold.subtract(keys)
            return keys.compactMap { key in
                guard let count = state.counts[key], count.untold > 0 else { return nil }
                state.counts[key]?.untold = 0
                return Topic.requests(count.untold, from: key.address, as: key.label)
            }
        }
    }

    /// Keeps what other nodes tell, until ``addTold(by:at:)``.
    func hear(_ db: any Database) {
        guard isShared else { return }
        db.onChange { [weak self] change in
            guard let self, case .topics(let topics) = change else { return }
            let told = topics.compactMap(Topic.requests)
            guard !told.isEmpty else { return }
            state.withLock { state in
                for (count, address, label) in told where state.told.count < Self.addressesMax {
                    state.told[Key(label: label, address: address), default: 0] += count
                }
            }
        }
    }

    /// Adds what other nodes told to one's own counts, by the rules in force.
    func addTold(by rules: RateRules, at now: Timestamp) {
        state.withLock { state in
            for (key, requests) in state.told {
                guard let rule = rules.rule(for: key.label) else { continue }
                var count = Self.count(of: key, in: &state, length: Int64(rule.seconds) * 1000, at: now)
                count.current += requests
                state.counts[key] = count
            }
            state.told = [:]
        }
    }

    // Counting

    private static func count(of key: Key, in state: inout State, length: Int64, at now: Timestamp) -> Count {
        if state.counts.count >= addressesMax && state.counts[key] == nil { shrink(&state.counts, now) }
        let window = now.milliseconds / length
        var count = state.counts[key] ?? Count(window: window, staleAt: (window + 2) * length)
        if count.window != window {
            let previous = count.window == window - 1 ? count.current : 0
            count = Count(window: window, staleAt: (window + 2) * length, previous: previous)
            // What is to be told is told late; what never came to it is over with its window.
            if let old = state.counts[key], state.untold.contains(key) { count.untold = old.untold }
        }
        return count
    }

    /// Milliseconds until a request passes if none comes before: when the older of the two counts has faded enough.
    private static func wait(_ count: Count, _ rule: RateRules.Rule, length: Int64, elapsed: Int64) -> Int64 {
        let room = Int64(rule.count - count.current - 1)
        if room >= 0 { return length - room * length / Int64(max(1, count.previous)) - elapsed }
        let faded = length - Int64(rule.count - 1) * length / Int64(max(1, count.current))
        return length - elapsed + max(0, faded)
    }

    private static func shrink(_ counts: inout [Key: Count], _ now: Timestamp) {
        counts = counts.filter { $0.value.staleAt > now.milliseconds }
        // So many addresses in one window are an attack: to forget some is better than to grow.
        if counts.count >= addressesMax { counts.removeAll() }
    }
}
