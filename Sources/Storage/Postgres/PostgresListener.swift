import Foundation
import Synchronization

/// Hears what other nodes tell, on a thread and a connection of its own.
///
/// It asks the server for an answer again and again: notifications come in order, so an answer proves that everything
/// before it was heard. Without one, ``hears`` turns false by itself, also when the network swallows everything or the
/// process was stopped for a while. A class, since it owns a thread.
final class PostgresListener: Sendable {
    static let beatMilliseconds = 250
    /// Together with the beat, what another node changed is known within a second, or nothing is answered from memory.
    static let freshMilliseconds = 900
    static let retryMilliseconds = 100...1000

    private let parameters: [(String, String)]
    private let notices: PostgresNotices
    private let changes: ChangeFeed
    private let report: @Sendable (PostgresReport) -> Void
    /// Of the last answer, by the clock that never stops; 0 before the first.
    private let heardAt = Atomic<UInt64>(0)
    private let isStopped = Atomic(false)

    init(
        _ parameters: [(String, String)],
        _ notices: PostgresNotices,
        _ changes: ChangeFeed,
        report: @escaping @Sendable (PostgresReport) -> Void
    ) {
        self.parameters = parameters
        self.notices = notices
        self.changes = changes
        self.report = report
    }

    var hears: Bool {
        let heard = heardAt.load(ordering: .acquiring)
        return heard != 0 && Self.now() &- heard < UInt64(Self.freshMilliseconds) * 1_000_000
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
                let connection = try PostgresConnection(parameters)
                defer { connection.close() }
                guard connection.isPostgres else {
                    report(.deaf("this database has no notifications"))
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
        connection.answerMilliseconds = Self.freshMilliseconds
        _ = try connection.run("LISTEN \(PostgresNotices.channel)", [])
        // What happened before is unknown.
        changes.publish(.unknown)
        heardAt.store(Self.now(), ordering: .releasing)
        whenHearing()
        report(.hears)
        while !isStopped.load(ordering: .relaxed) {
            _ = try connection.socket.waitForInput(milliseconds: Self.beatMilliseconds)
            let asked = Self.now()
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

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
