/// When those who find a full queue should come again: each gets a place of their own in the time to come.
///
/// So they don't all come back in the same second, to be refused together once more. The further the places reach, the
/// longer the wait; a client that ignores it only moves its own next place.
struct RetrySlots: Sendable {
    /// Nobody is told to wait longer, so that some who take no notice can't keep the others away.
    static let secondsMax = 10.0

    /// Seconds of a clock that only runs.
    private var next = 0.0

    /// Whole seconds to wait, at least 1.
    ///
    /// `queueSeconds` is how long the queue takes to be empty, `jobSeconds` how long it takes for one more.
    mutating func take(at now: Double, queueSeconds: Double, jobSeconds: Double) -> Int {
        let first = now + queueSeconds
        next = max(next, first) + jobSeconds
        if next > now + Self.secondsMax { next = first + jobSeconds }
        return max(1, Int((next - now).rounded(.up)))
    }
}
