import Foundation

/// Runs a closure as a transaction on one connection, again where that is safe.
///
/// A class, since those that conflict wait for each other.
final class PostgresTransactions: Sendable {
    /// How often a transaction is run that loses conflicts.
    ///
    /// From its second attempt on it has its process for itself; what remains are other nodes.
    static let attemptsMax = 12

    private let changes: ChangeFeed
    private let notices: PostgresNotices
    private let damages: Damage
    private let gate = PostgresGate()
    private let cancels = DispatchQueue(label: "latchkey.postgres.cancels")

    init(changes: ChangeFeed, notices: PostgresNotices, damages: Damage) {
        self.changes = changes
        self.notices = notices
        self.damages = damages
    }

    /// Runs a read that is cancelled when it must end.
    func search<T>(on slot: PostgresSlot, until end: SearchEnd, _ body: (Transaction) throws -> T) throws -> T {
        try end.check()
        defer {
            end.disarm()
            // A request to cancel may still be on its way, and would hit the next transaction of this connection.
            if end.reason != nil { slot.drop() }
        }
        do {
            return try run(.read, on: slot) { connection in
                guard let cancel = connection.socket.cancel() else { return }
                try end.arm(by: cancels) { [cancels, weak end] in
                    Self.request(cancel, until: end, by: cancels)
                }
            } _: { transaction in
                try body(transaction)
            }
        } catch {
            try end.check()
            throw error
        }
    }

    /// Again and again until the search has ended: a request that comes between two statements is lost.
    private static func request(_ cancel: PostgresCancel, until end: SearchEnd?, by queue: DispatchQueue) {
        queue.async { [weak end] in
            guard let end, end.isArmed else { return }
            cancel.request()
            queue.asyncAfter(deadline: .now() + .milliseconds(200)) { [weak end] in
                request(cancel, until: end, by: queue)
            }
        }
    }

    /// `prepare` is called with each connection before its first attempt.
    ///
    /// Throws what the body throws, or ``DatabaseError``.
    func run<T>(
        _ kind: TransactionKind,
        on slot: PostgresSlot,
        preparing prepare: (PostgresConnection) throws -> Void = { _ in },
        _ body: (Transaction) throws -> T
    ) throws -> T {
        var attempt = 1
        var last: PostgresConnection?
        while true {
            let connection = try slot.take()
            if connection !== last { try prepare(connection) }
            last = connection
            do {
                return try attempted(kind, isFirst: attempt == 1) { try once(kind, on: connection, body) }
            } catch let failed as Failed {
                guard failed.isRepeatable, attempt < Self.attemptsMax else {
                    throw (failed.error as? DatabaseError).map(damages.noting) ?? failed.error
                }
                attempt += 1
            }
            // Other nodes may be at the same: a while, longer each time, and not the same one for each.
            usleep(UInt32(DispatchTime.now().uptimeNanoseconds % (1_000 << UInt64(min(attempt, 6)))))
        }
    }

    private func attempted<T>(_ kind: TransactionKind, isFirst: Bool, _ run: () throws -> T) throws -> T {
        guard kind == .write else { return try run() }
        var isAlone = false
        if isFirst { gate.enter() } else { isAlone = gate.enterAlone() }
        defer { gate.leave(alone: isAlone) }
        return try run()
    }

    /// One that failed, and whether it is sure that nothing of it was stored.
    private struct Failed: Error {
        let error: any Error
        let isRepeatable: Bool
    }

    private func once<T>(
        _ kind: TransactionKind,
        on connection: PostgresConnection,
        _ body: (Transaction) throws -> T
    ) throws -> T {
        let transaction = Transaction(connection: connection, dialect: .postgres)
        connection.begin(kind)
        let value: T
        do {
            value = try body(transaction)
        } catch {
            // Whatever the body made of it: a conflict or a lost connection is none of its business.
            let isRepeatable = connection.failure != nil
            connection.rollback()
            throw Failed(error: error, isRepeatable: isRepeatable)
        }
        guard kind == .write else {
            connection.endRead()
            return value
        }
        do {
            try connection.commit(
                telling: connection.hasSession ? notices.payloads(transaction.toldTopics) : [],
                on: PostgresNotices.channel
            )
        } catch {
            // After a lost connection nobody knows whether the commit was stored: running it again could do it twice.
            let isRepeatable = connection.failure == .conflict
            if connection.failure == .lost {
                // It may yet be stored, even later than now: then its own notices tell, and are listened to from now on.
                notices.hearItself()
                changes.publish(.topics(transaction.topics))
            } else {
                connection.rollback()
            }
            throw Failed(error: error, isRepeatable: isRepeatable)
        }
        // Before the caller goes on: whoever sees his write acknowledged finds no stale cache.
        if !transaction.topics.isEmpty { changes.publish(.topics(transaction.topics)) }
        return value
    }
}
