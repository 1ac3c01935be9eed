import Testing

@testable import Auth

struct RateLimiterTests {
    private let limiter = RateLimiter()
    private static let address = "192.0.2.1"

    private func admit(
        at milliseconds: Int64,
        _ rule: RateRules.Rule,
        from address: String = Self.address,
        as label: RateRules.Label = .auth
    ) -> Int? {
        limiter.admit(address, as: label, by: rule, at: Timestamp(milliseconds: milliseconds))
    }

    /// The rule said plainly, over a list of all that was admitted: the requests of this window, and those of the one before it
    /// as far as a window that ends now would still reach into it.
    private struct Model {
        let rule: RateRules.Rule
        var admitted: [Int64] = []

        mutating func admits(at now: Int64) -> Bool {
            let length = Int64(rule.seconds) * 1000
            let start = now - now % length
            let current = admitted.count { $0 >= start }
            let previous = admitted.count { $0 >= start - length && $0 < start }
            let reach = length - (now - start)
            guard Int64(current) * length + Int64(previous) * reach + length <= Int64(rule.count) * length else {
                return false
            }
            admitted.append(now)
            return true
        }
    }

    // Between nodes

    private static let rule = RateRules.Rule(count: 10, seconds: 3)

    private func told(_ limiter: RateLimiter) -> [Int] {
        limiter.takeUntold().compactMap { Topic.requests($0)?.count }
    }

    @Test func `a node tells what an address used up of its limit, once, from a fifth on`() {
        let shared = RateLimiter(isShared: true)
        func admit(_ count: Int, at milliseconds: Int64) {
            for _ in 0..<count {
                _ = shared.admit(Self.address, as: .auth, by: Self.rule, at: Timestamp(milliseconds: milliseconds))
            }
        }
        admit(1, at: 0)
        #expect(told(shared) == [])
        admit(1, at: 1)
        #expect(told(shared) == [2])
        #expect(told(shared) == [])
        admit(3, at: 2)
        #expect(told(shared) == [3])
        // A window later, what never came to a fifth is over.
        for window in 1...50 as ClosedRange<Int64> { admit(1, at: window * 6000) }
        #expect(told(shared) == [])
        admit(1, at: 300_001)
        #expect(told(shared) == [2])
        #expect(RateLimiter().takeUntold().isEmpty)
    }

    @Test func `it decides as a naive model does, whatever the traffic`() {
        for seed in 0..<60 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let rule = RateRules.Rule(
                count: .random(in: 1...12, using: &random),
                seconds: .random(in: 1...8, using: &random)
            )
            let addresses = ["192.0.2.\(seed)", "198.51.100.\(seed)", "2001:db8:\(seed)::1"]
            var models = addresses.map { _ in Model(rule: rule) }
            var now = Int64.random(in: 0..<2_000_000_000_000, using: &random)
            for step in 0..<200 {
                let isBurst = Bool.random(using: &random)
                now +=
                    isBurst
                    ? .random(in: 0...20, using: &random) : .random(in: 0...Int64(rule.seconds) * 2200, using: &random)
                let who = Int.random(in: 0..<addresses.count, using: &random)
                let wait = admit(at: now, rule, from: addresses[who])
                #expect((wait == nil) == models[who].admits(at: now), "seed \(seed), step \(step)")
                #expect(wait.map { (1...rule.seconds * 2).contains($0) } ?? true, "seed \(seed), step \(step)")
            }
            for model in models { expectWindowsHold(model, seed) }
        }
    }

    /// No window of the clock holds more than the rule says, and no window anywhere twice as much.
    private func expectWindowsHold(_ model: Model, _ seed: UInt64) {
        let length = Int64(model.rule.seconds) * 1000
        for first in model.admitted {
            let inWindow = model.admitted.count { $0 / length == first / length }
            let after = model.admitted.count { $0 >= first && $0 < first + length }
            #expect(inWindow <= model.rule.count, "seed \(seed)")
            #expect(after < model.rule.count * 2 || model.rule.count == 1 && after == 1, "seed \(seed)")
        }
    }

    @Test func `a burst does not pass twice at a boundary`() {
        let rule = RateRules.Rule(count: 10, seconds: 3)
        for _ in 0..<10 { #expect(admit(at: 2999, rule) == nil) }
        #expect(admit(at: 2999, rule) != nil)
        #expect(admit(at: 3000, rule) != nil)
        #expect(admit(at: 3299, rule) != nil)
        #expect(admit(at: 3300, rule) == nil)
        #expect(admit(at: 3300, rule) != nil)
        #expect((0..<10).allSatisfy { _ in admit(at: 9000, rule) == nil })
    }

    @Test func `after the wait that it tells, a request passes`() {
        for seed in 0..<200 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let limiter = RateLimiter()
            let rule = RateRules.Rule(
                count: .random(in: 1...12, using: &random),
                seconds: .random(in: 1...8, using: &random)
            )
            var now = Int64.random(in: 0..<1_000_000, using: &random)
            for _ in 0..<40 {
                now += .random(in: 0...Int64(rule.seconds) * 300, using: &random)
                let time = Timestamp(milliseconds: now)
                guard let wait = limiter.admit(Self.address, as: .auth, by: rule, at: time) else { continue }
                now += Int64(wait) * 1000
                let again = limiter.admit(Self.address, as: .auth, by: rule, at: Timestamp(milliseconds: now))
                #expect(
                    again == nil,
                    "seed \(seed): \(rule.count)/\(rule.seconds), told to wait \(wait) s at \(time.milliseconds)"
                )
                if again != nil { break }
            }
        }
    }

    @Test func `who goes on asking while refused does not wait longer`() {
        let rule = RateRules.Rule(count: 2, seconds: 2)
        #expect(admit(at: 0, rule) == nil)
        #expect(admit(at: 0, rule) == nil)
        for time in stride(from: 0, to: 2000, by: 10) as StrideTo<Int64> { #expect(admit(at: time, rule) != nil) }
        for time in stride(from: 2000, to: 3000, by: 10) as StrideTo<Int64> { #expect(admit(at: time, rule) != nil) }
        #expect(admit(at: 3000, rule) == nil)
    }

    @Test func `addresses and labels are counted apart`() {
        let rule = RateRules.Rule(count: 1, seconds: 60)
        #expect(admit(at: 0, rule, from: "192.0.2.1") == nil)
        #expect(admit(at: 0, rule, from: "192.0.2.1") != nil)
        #expect(admit(at: 0, rule, from: "192.0.2.2") == nil)
        #expect(admit(at: 0, rule, from: "192.0.2.1", as: .general) == nil)
        #expect(admit(at: 0, rule, from: "192.0.2.1", as: .general) != nil)
        #expect(admit(at: 0, rule, from: "local") == nil)
        #expect(admit(at: 0, rule, from: "local") != nil)
    }

    @Test func `a subscriber's whole IPv6 network is one address`() {
        let rule = RateRules.Rule(count: 1, seconds: 60)
        #expect(admit(at: 0, rule, from: "2001:db8:1:2::1") == nil)
        #expect(admit(at: 0, rule, from: "2001:DB8:1:2:ffff:eeee:dddd:cccc") != nil)
        #expect(admit(at: 0, rule, from: "2001:db8:1:3::1") == nil)
        #expect(admit(at: 0, rule, from: "::ffff:192.0.2.9") == nil)
        #expect(admit(at: 0, rule, from: "192.0.2.9") != nil)
    }

    @Test func `memory is bounded, and what is over is forgotten first`() {
        let rule = RateRules.Rule(count: 1, seconds: 1)
        func other(_ number: Int) -> String { "name \(number)" }
        for number in 0..<RateLimiter.addressesMax - 1 { #expect(admit(at: 0, rule, from: other(number)) == nil) }
        #expect(admit(at: 10_000, rule) == nil)
        // This one needs room: the counts of long ago make it.
        #expect(admit(at: 10_000, rule, from: "one more") == nil)
        #expect(admit(at: 10_000, rule) != nil)
        #expect(admit(at: 10_000, rule, from: "one more") != nil)
    }
}
