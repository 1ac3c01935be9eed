import Synchronization

/// What was found damaged lately, for readiness to tell.
///
/// A class, since every connection of the process notes it.
package final class Damage: Sendable {
    /// A process that meets no damage for so long is taken for sound again: the disk may have been mended beneath it.
    package static let secondsKept = 60

    /// For the log.
    static let advice = """
        The database file or its disk is damaged. Stop the server, keep a copy of the data directory, check the disk, and \
        restore a backup
        """

    private let last = Mutex<(text: String, at: ContinuousClock.Instant)?>(nil)

    var recent: String? {
        last.withLock { last in
            guard let (text, at) = last, at.duration(to: .now) < .seconds(Self.secondsKept) else { return nil }
            return text
        }
    }

    /// The error itself, noted when it tells of damage.
    func noting(_ error: DatabaseError) -> DatabaseError {
        if case .damaged(let text) = error { last.withLock { $0 = (text, .now) } }
        return error
    }
}
