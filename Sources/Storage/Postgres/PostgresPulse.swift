import Foundation
import Synchronization

/// When the server was last heard to answer anything, on any connection.
///
/// A class, since every connection of the process tells it.
final class PostgresPulse: Sendable {
    /// The listener asks several times in this time, so a server that lives was heard.
    private static let feltMilliseconds: UInt64 = 1500

    private let last = Atomic<UInt64>(0)

    func beat() {
        last.store(Self.now(), ordering: .relaxed)
    }

    /// False before the first answer.
    var isFelt: Bool {
        let last = last.load(ordering: .relaxed)
        return last != 0 && Self.now() &- last < Self.feltMilliseconds * 1_000_000
    }

    /// Nanoseconds by the clock that goes on while the machine sleeps.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
