import Synchronization

/// Requests under way of each client that comes by a trusted proxy, whose connections tell nothing of how many clients they
/// serve.
///
/// A client may have as many as an address may have connections. A class, since it counts over requests.
final class ClientRequests: Sendable {
    private let max: Int
    private let counts = Mutex<[String: Int]>([:])

    init(max: Int) {
        self.max = max
    }

    /// False when the client has too many under way already; each that began must ``end(_:)``.
    func begin(_ address: String) -> Bool {
        counts.withLock { counts in
            guard counts[address, default: 0] < max else { return false }
            counts[address, default: 0] += 1
            return true
        }
    }

    func end(_ address: String) {
        counts.withLock { counts in
            let left = counts[address, default: 1] - 1
            counts[address] = left > 0 ? left : nil
        }
    }
}
