import Logging
import NIOCore
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
    /// Longer than a mail can take: ``SMTPConnection/transferMilliseconds``.
    static let claimSeconds = 40
    /// A mail that the server keeps refusing is given up after so many tries, some twenty minutes.
    static let refusalsMax = 8
    /// Between two probes while nothing gets through.
    static let probeSecondsMax = 30

    let services: Services
    let lease: Lease
    private let outage = Outage()
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
            await withTaskGroup { group in
                group.addTask { await tick() }
                let lanes = Lanes(Self.lanesMax)
                for await _ in wakeUps {
                    try? await Task.sleep(for: .milliseconds(Self.gatherMilliseconds))
                    guard !Task.isCancelled, lease.isHeld, let connection = lanes.take() else { continue }
                    group.addTask {
                        await work(by: connection)
                        lanes.giveBack(connection)
                    }
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

    private func work(by connection: SMTPConnection) async {
        do {
            if try await deliver(by: connection) == 0 { await connection.close() }
        } catch {
            services.logger.warning("Mails wait: the outbox can't be used.", metadata: ["cause": "\(error)"])
        }
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
        guard !outage.isOn(at: now) else { return nil }
        let settings = try await services.settings()
        guard case .smtp(let server) = MailTransport(settings, services.ownAddress) else { return nil }
        let due = try await services.db.read { tx in try tx.dueMails(at: now, limit: Self.lanesMax) }
        for mail in due {
            if mail.expiresAt <= now {
                try await services.db.write { tx in
                    try tx.settleMail(mail, as: .expired, error: mail.lastError, at: now)
                }
                continue
            }
            let until = now.advanced(bySeconds: Self.claimSeconds)
            if let claimed = try await services.db.write({ tx in try tx.claimMail(mail, until: until) }) {
                return (claimed, server, settings)
            }
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
        let tries = mail.attempts
        if failure.isRefusal && tries >= Self.refusalsMax {
            try await services.db.write { tx in
                try tx.settleMail(mail, as: .failed, error: failure.description, at: now)
            }
        } else {
            let seconds = failure.isOutage ? outage.begin(at: now) : Self.waitSeconds(afterTries: tries)
            try await services.db.write { tx in
                try tx.postponeMail(mail, until: now.advanced(bySeconds: seconds), error: failure.description)
            }
        }
        services.logger.warning(
            "A mail was not taken.",
            metadata: ["mail": "\(mail.id)", "try": "\(tries)", "cause": "\(failure.description)"]
        )
    }

    /// 5, 15, 30, 60, 120, 300, 600 seconds, then an hour.
    static func waitSeconds(afterTries tries: Int) -> Int {
        let waits = [5, 15, 30, 60, 120, 300, 600]
        return tries <= waits.count ? waits[max(0, tries - 1)] : 3600
    }
}

/// That nothing gets through.
///
/// A class, since it begins and ends.
private final class Outage: Sendable {
    private let state = Mutex<(failures: Int, until: Timestamp?)>((0, nil))

    func isOn(at now: Timestamp) -> Bool {
        state.withLock { $0.until.map { $0 > now } ?? false }
    }

    /// Tells after how many seconds to look again: 1, 2, 4, … up to ``Delivery/probeSecondsMax``.
    ///
    /// Failures of several connections at once are one.
    func begin(at now: Timestamp) -> Int {
        state.withLock { state in
            if let until = state.until, until > now { return max(1, Int(until.seconds(since: now))) }
            let seconds = min(Delivery.probeSecondsMax, 1 << min(state.failures, 10))
            state = (state.failures + 1, now.advanced(bySeconds: seconds))
            return seconds
        }
    }

    func end() {
        state.withLock { $0 = (0, nil) }
    }
}

/// The connections that are not at work; the one that was used last comes first.
///
/// A class, since deliverers take from it.
private final class Lanes: Sendable {
    private let idle: Mutex<[SMTPConnection]>

    init(_ count: Int) {
        idle = Mutex((1...count).map { SMTPConnection(name: "smtp-\($0)") })
    }

    func take() -> SMTPConnection? {
        idle.withLock { $0.popLast() }
    }

    func giveBack(_ connection: SMTPConnection) {
        idle.withLock { $0.append(connection) }
    }
}
