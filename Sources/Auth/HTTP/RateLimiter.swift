import Synchronization

/// Counts requests by address in this process: a sliding window of two halves, bounded in memory.
///
/// The count of the window before fades out linearly, so no burst passes twice at a boundary. A class, since it counts
/// over requests.
final class RateLimiter: Sendable {
    /// Addresses kept; beyond, the counts of windows that are over go first.
    static let addressesMax = 100_000

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
    }

    private let counts = Mutex<[Key: Count]>([:])

    /// Nil when the request may pass, else the seconds to wait.
    ///
    /// A refused request is not counted.
    func admit(_ address: String, as label: RateRules.Label, by rule: RateRules.Rule, at now: Timestamp) -> Int? {
        let length = Int64(rule.seconds) * 1000
        let window = now.milliseconds / length
        let elapsed = now.milliseconds % length
        let key = Key(label: label, address: AddressRange.limitKey(address))
        return counts.withLock { counts in
            if counts.count >= Self.addressesMax && counts[key] == nil { Self.shrink(&counts, now) }
            var count = counts[key] ?? Count(window: window, staleAt: (window + 2) * length)
            if count.window != window {
                let previous = count.window == window - 1 ? count.current : 0
                count = Count(window: window, staleAt: (window + 2) * length, previous: previous)
            }
            // In thousandths, to stay with integers.
            let weighed = Int64(count.current) * length + Int64(count.previous) * (length - elapsed)
            guard weighed + length <= Int64(rule.count) * length else {
                counts[key] = count
                return Int((Self.wait(count, rule, length: length, elapsed: elapsed) + 999) / 1000)
            }
            count.current += 1
            counts[key] = count
            return nil
        }
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
