import Storage

/// Slows down guessing: after some failures an account, or an address, is locked for a while.
///
/// Shared by all nodes, since it lives in the database.
///
/// An unknown name is locked just like an account, so that a lock tells nothing. A failure is counted when it is known;
/// the check in the transaction that starts the session makes sure that, of guesses in parallel, none that comes after
/// the last permitted failure succeeds, even a right one.
struct Lockout: Sendable {
    /// An address may fail so many times as often as an account.
    static let addressFactor = 10

    let services: Services
    let account: Account
    let client: Client
    /// Who fails, where that is somebody signed in.
    var actor: Actor?

    /// What is locked: the user, or the name that nobody has.
    struct Account: Sendable {
        let user: UserID?
        let name: SignInName?
        let collection: CollectionID

        var key: Digest {
            if let user { return Digest(of: "account:\(user)") }
            return Digest(of: "name:\(collection):\(name?.lockoutKey ?? "")")
        }
    }

    private var addressKey: Digest { Digest(of: "address:\(AddressRange.limitKey(client.address))") }

    private var keys: [Digest] { [account.key, addressKey] }

    /// Throws `locked_out` while the account or the address is locked.
    ///
    /// A lock never lasts longer from now than the setting has it, even when the clock was ahead as it began.
    func check() async throws {
        guard let limits = Limits(try await services.settings()) else { return }
        let now = services.clock.now()
        guard let end = try await services.db.read({ tx in try lockEnd(in: tx) }), end > now else { return }
        let latest = now.advanced(bySeconds: limits.seconds)
        if end > latest {
            try await services.db.write { tx in
                for key in keys { try tx.shortenLock(key, until: latest) }
            }
        }
        throw Self.refusal(until: min(end, latest), at: now)
    }

    private func lockEnd(in tx: Transaction) throws -> Timestamp? {
        try keys.compactMap { key in try tx.lockedUntil(key) }.max()
    }

    private static func refusal(until end: Timestamp, at now: Timestamp) -> AuthError {
        AuthError(.lockedOut, retryAfterSeconds: Int((end.milliseconds - now.milliseconds + 999) / 1000))
    }

    /// Counts a failed attempt and tells the audit log.
    func countFailure(of user: UserID?) async throws {
        let settings = try await services.settings()
        try await services.db.write { tx in try countFailure(of: user, details: [:], in: tx, settings) }
    }

    func check(in tx: Transaction, _ settings: Settings) throws {
        guard Limits(settings) != nil else { return }
        let now = services.clock.now()
        if let end = try lockEnd(in: tx), end > now { throw Self.refusal(until: end, at: now) }
    }

    func countFailure(of user: UserID?, details: AuditDetails, in tx: Transaction, _ settings: Settings) throws {
        let now = services.clock.now()
        let actor = self.actor ?? Actor(id: nil, client: client)
        try tx.audit(.signInFailed, by: actor, on: user, outcome: .failure, details: details, services)
        guard let limits = Limits(settings) else { return }
        for (key, max) in [(account.key, limits.failuresMax), (addressKey, limits.failuresMax * Self.addressFactor)] {
            if try tx.countFailure(key, max: max, lockSeconds: limits.seconds, at: now) {
                let what: AuditDetails = ["locked": .string(key == account.key ? "account" : "address")]
                try tx.audit(.signInLocked, by: actor, on: user, outcome: .failure, details: what, services)
            }
        }
    }

    /// After a success the account's failures are forgotten; the address's are not, or whoever has an account could
    /// guess on.
    func forget(in tx: Transaction) throws {
        try tx.forgetFailures(account.key)
    }

    /// Nil when lockout is off.
    private struct Limits: Sendable {
        let failuresMax: Int
        let seconds: Int

        init?(_ settings: Settings) {
            failuresMax = settings.count("auth.lockout.max_attempts")
            seconds = settings.count("auth.lockout.duration_seconds")
            guard failuresMax > 0 else { return nil }
        }
    }
}
