import Logging
import ServiceLifecycle
import Storage
import Synchronization

/// Delivers the mails of the outbox, on the node that has the lease.
///
/// It is woken by the commit that posts a mail, on whichever node, and looks by itself every few seconds. A mail is claimed
/// by one conditional update before it is sent; what a crash leaves claimed is tried again when the claim runs out.
///
/// While nothing gets through at all the queue stands still but for one probe; a mail that the server refuses waits by
/// itself. Neither holds up a request.
struct Delivery: Service {
    /// Connections at most.
    static let lanesMax = 4
    /// Mails posted together go out together; and their delivery doesn't fall into the time of the next request, from
    /// which one could tell that there was something to deliver.
    static let gatherMilliseconds = 100
    static let tickSeconds = 2
    /// What is under way when the server is stopped has so long to end.
    static let stopSeconds = 5
    /// After so long another node takes a claimed mail for abandoned; this one knows which it is still sending.
    static let claimSeconds = 40
    /// A mail that the server keeps refusing is given up after so many tries, some twenty minutes.
    static let refusalsMax = 8
    /// Between two probes while nothing gets through.
    static let probeSecondsMax = 30

    let services: Services
    let lease: Lease
    private let outage = Outage()
    private let underWay = UnderWay()
    private let stop = StopSign()
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    init(services: Services, lease: Lease) {
        self.services = services
        self.lease = lease
        let (wakeUps, wakeUp) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        (self.wakeUps, self.wakeUp) = (wakeUps, wakeUp)
        services.db.onChange { [outage] change in
            switch change {
            case .topics(let topics):
                if topics.contains(Topic.settings) { outage.end() }
                if topics.contains(Topic.outbox) || topics.contains(Topic.settings) { wakeUp.yield() }
            case .unknown:
                outage.end()
                wakeUp.yield()
            }
        }
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            // Discarding: a group that keeps what its tasks return would grow for as long as the server runs.
            await withDiscardingTaskGroup { group in
                group.addTask { await tick() }
                let lanes = Lanes((1...Self.lanesMax).map { _ in SMTPConnection(stop: stop) })
                for await _ in wakeUps {
                    try? await Task.sleep(for: .milliseconds(Self.gatherMilliseconds))
                    guard !Task.isCancelled, lease.isHeld, let connection = lanes.take() else { continue }
                    group.addTask {
                        lanes.giveBack(await work(by: connection))
                    }
                }
                // Those that are at work end by themselves, or by this.
                Task.detached { [stop] in
                    try await Task.sleep(for: .seconds(Self.stopSeconds))
                    stop.set()
                }
            }
        }
    }

    private func tick() async {
        while !Task.isCancelled {
            wakeUp.yield()
            try? await Task.sleep(for: .seconds(Self.tickSeconds))
        }
    }

    /// Gives the connection for the next mails.
    ///
    /// One that has nothing to do is let go, and says goodbye by itself: the server may take its time to answer.
    private func work(by connection: SMTPConnection) async -> SMTPConnection {
        do {
            if try await deliver(by: connection) == 0, await connection.isOpen { return SMTPConnection(stop: stop) }
        } catch {
            services.logger.warning("Mails wait: the outbox can't be used.", metadata: ["cause": "\(error)"])
        }
        return connection
    }

    /// Sends what is due, one after the other, and tells how many were tried.
    func deliver(by connection: SMTPConnection) async throws -> Int {
        var count = 0
        while !Task.isCancelled, let (mail, server, settings) = try await claim() {
            // More may be due than one connection sends.
            if count == 0 { wakeUp.yield() }
            count += 1
            await attempt(mail, by: connection, server, settings)
        }
        return count
    }

    /// The next mail that is due, for this deliverer alone.
    private func claim() async throws -> (OutboxMail, SMTPServer, Settings)? {
        let now = services.clock.now()
        guard !outage.isOn else { return nil }
        let settings = try await services.settings()
        guard case .smtp(let server) = MailTransport(settings, services.ownAddress) else { return nil }
        let due = try await services.db.read { tx in try tx.dueMails(at: now, limit: 2 * Self.lanesMax) }
            .filter { !underWay.contains($0.id) }
        for mail in due {
            if mail.expiresAt <= now {
                try await services.db.write { tx in
                    try tx.settleMail(mail, as: .expired, error: mail.lastError, at: now)
                }
                continue
            }
            let until = now.advanced(bySeconds: Self.claimSeconds)
            guard underWay.begin(mail.id) else { continue }
            do {
                if let claimed = try await services.db.write({ tx in try tx.claimMail(mail, until: until) }) {
                    return (claimed, server, settings)
                }
            } catch {
                underWay.end(mail.id)
                throw error
            }
            underWay.end(mail.id)
        }
        // Nothing, or all of these were taken meanwhile: then others may be left.
        return due.isEmpty ? nil : try await claim()
    }

    private func attempt(
        _ mail: OutboxMail,
        by connection: SMTPConnection,
        _ server: SMTPServer,
        _ settings: Settings
    ) async {
        defer { underWay.end(mail.id) }
        var failure: SMTPFailure?
        do {
            try await connection.send(try message(mail, settings), by: server)
        } catch {
            failure = error as? SMTPFailure ?? SMTPFailure(description: "\(error)", isOutage: true, isRefusal: false)
        }
        do {
            try await record(failure, of: mail)
        } catch {
            services.logger.error(
                "What became of a mail can't be written down; it may be sent twice.",
                metadata: ["mail": "\(mail.id)", "cause": "\(error)"]
            )
        }
    }

    private func message(_ mail: OutboxMail, _ settings: Settings) throws -> MailMessage {
        let transport = MailTransport(settings, services.ownAddress)
        guard let base = transport.linkBase(settings, services.ownAddress) else {
            throw SMTPFailure(description: "the setting app.url is empty", isOutage: true, isRefusal: false)
        }
        let values = mail.variables(services, linkBase: base)
        let content = MailText(mail.template, values, settings)
        return MailMessage(id: mail.id.rawValue, recipient: mail.recipient, date: mail.createdAt, content: content)
    }

    private func record(_ failure: SMTPFailure?, of mail: OutboxMail) async throws {
        let now = services.clock.now()
        guard let failure else {
            outage.end()
            try await services.db.write { tx in try tx.settleMail(mail, as: .sent, error: nil, at: now) }
            return
        }
        switch failure.stop {
        case .unacknowledged: return
        case .beforeSent:
            return try await services.db.write { tx in
                try tx.postponeMail(mail, refusals: mail.refusals, until: now, error: failure.description)
            }
        case nil: break
        }
        let refusals = mail.refusals + (failure.isOutage ? 0 : 1)
        if failure.isRefusal && refusals >= Self.refusalsMax {
            try await services.db.write { tx in
                try tx.settleMail(mail, as: .failed, error: failure.description, at: now)
            }
        } else {
            let seconds = failure.isOutage ? outage.begin() : Self.waitSeconds(afterRefusals: refusals)
            let until = now.advanced(bySeconds: seconds)
            try await services.db.write { tx in
                try tx.postponeMail(mail, refusals: refusals, until: until, error: failure.description)
            }
        }
        services.logger.warning(
            "A mail was not taken.",
            metadata: ["mail": "\(mail.id)", "try": "\(mail.attempts)", "cause": "\(failure.description)"]
        )
    }

    /// 5, 15, 30, 60, 120, 300, 600 seconds, then an hour.
    static func waitSeconds(afterRefusals count: Int) -> Int {
        let waits = [5, 15, 30, 60, 120, 300, 600]
        return count <= waits.count ? waits[max(0, count - 1)] : 3600
    }
}

/// That nothing gets through.
///
/// A class, since it begins and ends. By a clock that nobody sets.
private final class Outage: Sendable {
    private let state = Mutex<(failures: Int, until: ContinuousClock.Instant?)>((0, nil))

    var isOn: Bool {
        state.withLock { $0.until.map { $0 > .now } ?? false }
    }

    /// Tells after how many seconds to look again: 1, 2, 4, … up to ``Delivery/probeSecondsMax``.
    ///
    /// Failures of several connections at once are one.
    func begin() -> Int {
        state.withLock { state in
            if let until = state.until, until > .now { return 1 + Int((until - .now).components.seconds) }
            let seconds = min(Delivery.probeSecondsMax, 1 << min(state.failures, 10))
            state = (state.failures + 1, .now + .seconds(seconds))
            return seconds
        }
    }

    func end() {
        state.withLock { $0 = (0, nil) }
    }
}

/// The mails that this process is sending.
///
/// A class, since they come and go.
private final class UnderWay: Sendable {
    private let mails = Mutex<Set<Identifier<OutboxMail>>>([])

    func contains(_ mail: Identifier<OutboxMail>) -> Bool { mails.withLock { $0.contains(mail) } }

    /// False when it is being sent already.
    func begin(_ mail: Identifier<OutboxMail>) -> Bool { mails.withLock { $0.insert(mail).inserted } }

    func end(_ mail: Identifier<OutboxMail>) { mails.withLock { _ = $0.remove(mail) } }
}

/// The connections that are not at work; the one that was used last comes first.
///
/// A class, since deliverers take from it.
private final class Lanes: Sendable {
    private let idle: Mutex<[SMTPConnection]>

    init(_ connections: [SMTPConnection]) {
        idle = Mutex(connections)
    }

    func take() -> SMTPConnection? {
        idle.withLock { $0.popLast() }
    }

    func giveBack(_ connection: SMTPConnection) {
        idle.withLock { $0.append(connection) }
    }
}
