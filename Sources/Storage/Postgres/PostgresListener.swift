import Foundation
import Synchronization

/// Hears what other nodes tell, on a thread and a connection of its own.
///
/// It asks the server for an answer again and again: notifications come in order, so an answer proves that everything
/// before it was heard. Without one, ``hears`` turns false by itself, also when the network swallows everything or the
/// process was stopped for a while. A class, since it owns a thread.
final class PostgresListener: Sendable {
    static let beatMilliseconds = 250
    /// What another node changed is known within this time, or nothing is answered from memory.
    static let freshMilliseconds = 900
    /// An answer that takes longer is not waited for.
    ///
    /// Much longer than ``freshMilliseconds``: a server that is slow is not
    /// helped by new connections and empty caches.
    static let answerMilliseconds = 3000
    static let retryMilliseconds = 100...1000

    private let connect: @Sendable () throws -> PostgresConnection
    private let notices: PostgresNotices
    private let changes: ChangeFeed
    private let report: @Sendable (PostgresReport) -> Void
    /// Of the last answer, by the clock that never stops; 0 before the first.
    private let heardAt = Atomic<UInt64>(0)
    private let isStopped = Atomic(false)

    /// `connect` tells the pool when it fails: who hears nothing must not wait for answers either.
    init(
        connect: @escaping @Sendable () throws -> PostgresConnection,
        _ notices: PostgresNotices,
        _ changes: ChangeFeed,
        report: @escaping @Sendable (PostgresReport) -> Void
    ) {
        self.connect = connect
        self.notices = notices
        self.changes = changes
        self.report = report
    }

    var hears: Bool {
        let heard = heardAt.load(ordering: .acquiring)
        return heard != 0 && PostgresPulse.now() &- heard < UInt64(Self.freshMilliseconds) * 1_000_000
    }

    /// Until the task is cancelled or ``stop()`` is called.
    func run() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let thread = Thread {
                    self.work()
                    continuation.resume()
                }
                thread.name = "postgres-listen"
                thread.start()
            }
        } onCancel: {
            stop()
        }
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
    }

    private func work() {
        var pause = Self.retryMilliseconds.lowerBound
        var isDeaf = false
        while !isStopped.load(ordering: .relaxed) {
            do {
                let connection = try connect()
                defer { connection.close() }
                guard connection.hasSession else {
                    report(.deaf("this database, or the pooler before it, has no notifications"))
                    return waitForStop()
                }
                try listen(on: connection) {
                    pause = Self.retryMilliseconds.lowerBound
                    isDeaf = false
                }
            } catch {
                heardAt.store(0, ordering: .releasing)
                if !isDeaf { report(.deaf("\(error)")) }
                isDeaf = true
                Thread.sleep(forTimeInterval: Double(pause) / 1000)
                pause = min(pause * 2, Self.retryMilliseconds.upperBound)
            }
        }
        heardAt.store(0, ordering: .releasing)
    }

    /// Throws when the connection is lost.
    private func listen(on connection: PostgresConnection, whenHearing: () -> Void) throws {
        connection.answerMilliseconds = Self.answerMilliseconds
        let begun = PostgresPulse.now()
        _ = try connection.run("LISTEN \(PostgresNotices.channel)", [])
        // What happened before is unknown.
        changes.publish(.unknown)
        heardAt.store(begun, ordering: .releasing)
        whenHearing()
        report(.hears)
        while !isStopped.load(ordering: .relaxed) {
            _ = try connection.socket.waitForInput(milliseconds: Self.beatMilliseconds)
            let asked = PostgresPulse.now()
            if asked &- heardAt.load(ordering: .relaxed) >= UInt64(Self.beatMilliseconds) * 1_000_000 {
                _ = try connection.run("SELECT 1", [])
                publish(connection.socket.takeNotifications())
                heardAt.store(asked, ordering: .releasing)
            } else {
                publish(connection.socket.takeNotifications())
            }
        }
    }

    private func publish(_ payloads: [String]) {
        for change in payloads.compactMap(notices.change) { changes.publish(change) }
    }

    private func waitForStop() {
        while !isStopped.load(ordering: .relaxed) { Thread.sleep(forTimeInterval: 0.2) }
    }
}
