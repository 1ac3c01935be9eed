import Storage
import Synchronization

/// Whether this process can take requests: its database can be read and written, it has the signing key, and it is not on
/// its way down.
///
/// However many ask, the database is tried once a second. A class, since it remembers.
final class Readiness: Sendable {
    /// A good state is told for so long without another look, a bad one for a quarter of it.
    static let keptMilliseconds = 1000
    /// A look that takes longer counts as failed.
    static let patienceMilliseconds = 2000

    /// What keeps the process from taking requests.
    struct Failure: Sendable {
        enum Check: String, Sendable {
            case reads
            case writes
            case signingKey = "signing_key"
            case draining
        }

        let check: Check
        let sentence: String
        var cause: (any Error)?
        var retryAfterSeconds = 2

        /// `unavailable`, with the check that failed.
        var refusal: AuthError {
            AuthError(
                .unavailable,
                sentence,
                details: ["check": check.rawValue],
                cause: cause,
                retryAfterSeconds: retryAfterSeconds
            )
        }
    }

    private let draining = Atomic(false)
    private let last = Mutex<(failure: Failure?, at: ContinuousClock.Instant)?>(nil)
    private let looks: SharedAnswer<Failure?>

    init(patience: Duration = .milliseconds(patienceMilliseconds)) {
        looks = SharedAnswer(patience: patience, isJoined: true)
    }

    var isDraining: Bool { draining.load(ordering: .relaxed) }

    func drain() { draining.store(true, ordering: .relaxed) }

    /// Nil when requests can be taken.
    func failure(_ services: Services) async -> Failure? {
        if isDraining { return Failure(check: .draining, sentence: "The server is shutting down.") }
        if let damage = services.db.damage {
            return Failure(
                check: .reads,
                sentence: "What the database holds can't all be read: it is damaged. The server's log says what to do.",
                cause: DatabaseError.damaged(damage),
                retryAfterSeconds: 30
            )
        }
        if let (failure, at) = last.withLock({ $0 }) {
            let kept = failure == nil ? Self.keptMilliseconds : Self.keptMilliseconds / 4
            if at.duration(to: .now) < .milliseconds(kept) { return failure }
        }
        let answer = await looks.value { [self] in
            let failure = await look(services)
            last.withLock { $0 = (failure, .now) }
            return failure
        }
        return answer ?? Failure(check: .writes, sentence: "The database does not answer.")
    }

    private func look(_ services: Services) async -> Failure? {
        do {
            try await services.db.read { tx in try tx.checkRead() }
        } catch {
            return Failure(check: .reads, sentence: "The database can't be read.", cause: error)
        }
        do {
            // A write that is rolled back never reaches a full disk.
            let (node, now) = (services.nodeID, services.clock.now())
            try await services.db.write { tx in try tx.putHeartbeat(of: node, at: now) }
        } catch {
            return Failure(check: .writes, sentence: "The database can't be written to.", cause: error)
        }
        do {
            // A node that can't verify the others' tokens must get no requests.
            _ = try await services.signingKeys()
        } catch {
            return Failure(
                check: .signingKey,
                sentence: "This node does not have the signing key in force.",
                cause: error
            )
        }
        return nil
    }
}
