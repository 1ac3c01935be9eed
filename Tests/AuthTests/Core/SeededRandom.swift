import Synchronization

@testable import Auth

/// A generator whose numbers follow from its seed: a failing test can be run again.
///
/// Sebastiano Vigna's SplitMix64.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// That many bytes.
    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 32) }
    }
}

extension Auth.Random {
    /// For values that need not differ from run to run.
    static func seeded(_ seed: UInt64) -> Auth.Random {
        let generator = Mutex(SplitMix64(seed: seed))
        return Auth.Random { count in generator.withLock { $0.bytes(count) } }
    }
}
