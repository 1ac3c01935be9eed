import Synchronization

/// Names requests, for logs and support: a random start and a count.
///
/// Unique, not secret. A class, since it counts.
final class RequestIDs: Sendable {
    private let prefix: String
    private let count = Atomic<UInt64>(0)

    init(random: Random) {
        prefix = Hex.encode(random.bytes(5)) + "-"
    }

    func next() -> String {
        prefix + String(count.wrappingAdd(1, ordering: .relaxed).newValue, radix: 16)
    }
}
