import DequeModule
import Foundation
import Synchronization

/// Some threads with a connection each, and a bounded queue before them.
///
/// libpq blocks, so it has threads of its own and never runs on the cooperative pool. A class, since it owns threads.
final class PostgresPool: Sendable {
    /// How often a lost database is tried anew: so soon at first, then twice as long, up to the last.
    static let retryMilliseconds = 100...500

    private struct State {
        var waiting: Deque<Job> = []
        var waitingSearches: Deque<Job> = []
        var searchesRunning = 0
        var idleCount = 0
        /// Threads that have a connection, as far as they know.
        var connectedCount = 0
        /// Why the database can't be reached; while it can't, nobody waits for it.
        var away: String?
        var isClosed = false
        var threads: Set<pthread_t> = []
    }

    private struct Job: Sendable {
        let kind: PostgresJobKind
        /// Nil for a transaction.
        let end: SearchEnd?
        let deadline: ContinuousClock.Instant
        let run: @Sendable (PostgresSlot) -> Void
        let refuse: @Sendable (DatabaseError) -> Void
    }

    private let parameters: [(String, String)]
    private let limits: PostgresLimits
    private let pulse = PostgresPulse()
    private let report: @Sendable (PostgresReport) -> Void
    private let state = Mutex(State())
    private let wakeUp = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let timer = DispatchQueue(label: "latchkey.postgres.waiting")

    init(
        _ parameters: [(String, String)],
        _ limits: PostgresLimits,
        report: @escaping @Sendable (PostgresReport) -> Void
    ) {
        self.parameters = parameters
        self.limits = limits
        self.report = report
        for number in 0..<limits.connections {
            let thread = Thread { self.work() }
            thread.name = "postgres-\(number)"
            thread.start()
        }
    }

    /// Runs `job` on one of the threads.
    ///
    /// Throws ``DatabaseError/unavailable(_:)`` at once while the database is away or when the queue is full, and after
    /// ``PostgresLimits/waitMilliseconds`` when no connection comes free.
    ///
    /// Searches have a share of the threads, and throw ``DatabaseError/tooManySearches`` in the place of the latter two.
    func run<T: Sendable>(
        _ kind: PostgresJobKind = .transaction,
        until end: SearchEnd? = nil,
        _ job: @escaping @Sendable (PostgresSlot) throws -> T
    ) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            enqueue(
                kind,
                until: end,
                run: { slot in continuation.resume(with: Result { try job(slot) }) },
                refuse: { continuation.resume(throwing: $0) }
            )
        }
    }

    private func enqueue(
        _ kind: PostgresJobKind,
        until end: SearchEnd?,
        run: @escaping @Sendable (PostgresSlot) -> Void,
        refuse: @escaping @Sendable (DatabaseError) -> Void
    ) {
        let job = Job(
            kind: kind,
            end: end,
            deadline: ContinuousClock.now + .milliseconds(limits.waitMilliseconds),
            run: run,
            refuse: refuse
        )
        var over: [Job] = []
        let (refusal, mustWait): (DatabaseError?, Bool) = state.withLock { state in
            if state.isClosed { return (.unavailable("the database is closed"), false) }
            if let away = state.away { return (.unavailable(away), false) }
            switch kind {
            case .transaction:
                guard state.waiting.count < limits.waitingMax else {
                    return (.unavailable("too many wait for a connection"), false)
                }
                state.waiting.append(job)
                return (nil, state.waiting.count > state.idleCount)
            case .search:
                if state.waitingSearches.count >= limits.searches.waitingCountMax {
                    // Those whose clients have left take no place.
                    over = state.waitingSearches.filter { $0.end?.reason != nil }
                    state.waitingSearches.removeAll { $0.end?.reason != nil }
                }
                guard state.waitingSearches.count < limits.searches.waitingCountMax else {
                    return (.tooManySearches, false)
                }
                state.waitingSearches.append(job)
                return (nil, true)
            }
        }
        for job in over { job.refuse(.tooManySearches) }
        if let refusal {
            refuse(refusal)
            return
        }
        wakeUp.signal()
        if mustWait { refuseOverdueLater() }
    }

    private func refuseOverdueLater() {
        timer.asyncAfter(deadline: .now() + .milliseconds(limits.waitMilliseconds)) { [weak self] in
            self?.refuseOverdue()
        }
    }

    private func refuseOverdue() {
        let now = ContinuousClock.now
        let overdue = state.withLock { state in
            var overdue: [Job] = []
            while let first = state.waiting.first, first.deadline <= now {
                overdue.append(first)
                state.waiting.removeFirst()
            }
            while let first = state.waitingSearches.first, first.deadline <= now {
                overdue.append(first)
                state.waitingSearches.removeFirst()
            }
            return overdue
        }
        for job in overdue {
            switch job.kind {
            case .transaction:
                job.refuse(.unavailable("no connection came free within \(limits.waitMilliseconds) ms"))
            case .search: job.refuse(.tooManySearches)
            }
        }
    }

    /// Ends the threads once they have done what waits, and waits for it, unless one of them asks: the last reference to a
    /// database may go with a closure that has just run on it.
    func close() {
        let (isFirst, isOwn) = state.withLock { state in
            defer { state.isClosed = true }
            return (!state.isClosed, state.threads.contains(pthread_self()))
        }
        guard isFirst else { return }
        for _ in 0..<limits.connections { wakeUp.signal() }
        guard !isOwn else { return }
        for _ in 0..<limits.connections { ended.wait() }
    }

    // The threads

    private func work() {
        _ = state.withLock { $0.threads.insert(pthread_self()) }
        let slot = PostgresSlot { [self] in
            try connect()
        } whenDropped: { [self] in
            state.withLock { $0.connectedCount -= 1 }
        }
        while true {
            state.withLock { $0.idleCount += 1 }
            wakeUp.wait()
            let (job, isClosed) = state.withLock { state in
                state.idleCount -= 1
                return (takeNext(&state), state.isClosed)
            }
            if let job {
                if (try? slot.take()) != nil || !giveBack(job) { job.run(slot) }
                if job.kind == .search { leaveSearch() }
            } else if isClosed {
                break
            }
        }
        slot.drop()
        ended.signal()
    }

    /// Transactions come first; searches take no more than their share of the threads.
    private func takeNext(_ state: inout State) -> Job? {
        if let job = state.waiting.popFirst() { return job }
        guard state.searchesRunning < limits.searchConnections, let search = state.waitingSearches.popFirst() else {
            return nil
        }
        state.searchesRunning += 1
        return search
    }

    private func leaveSearch() {
        let mustWake = state.withLock { state in
            state.searchesRunning -= 1
            return !state.waitingSearches.isEmpty
        }
        if mustWake { wakeUp.signal() }
    }

    /// Leaves a job to threads that have a connection, and tells whether there are any.
    private func giveBack(_ job: Job) -> Bool {
        let isGiven = state.withLock { state in
            guard state.away == nil, state.connectedCount > 0, pulse.isFelt, job.deadline > ContinuousClock.now else {
                return false
            }
            switch job.kind {
            case .transaction: state.waiting.prepend(job)
            case .search: state.waitingSearches.prepend(job)
            }
            return true
        }
        guard isGiven else { return false }
        refuseOverdueLater()
        wakeUp.signal()
        Thread.sleep(forTimeInterval: Double(Self.retryMilliseconds.lowerBound) / 1000)
        return true
    }

    private func connect() throws -> PostgresConnection {
        let connection = try openConnection()
        state.withLock { $0.connectedCount += 1 }
        return connection
    }

    /// A new connection, beyond those of the threads.
    ///
    /// Who gets none from a server that answers nobody declares the database away: everybody else fails at once until it is
    /// back. One that answers on other connections may only have no place for more, or another password since.
    func openConnection() throws -> PostgresConnection {
        if let away = state.withLock({ $0.away }) { throw DatabaseError.unavailable(away) }
        do {
            return try PostgresConnection(parameters, pulse)
        } catch DatabaseError.unavailable(let reason) {
            let (isFirst, refused) = state.withLock { state in
                guard state.away == nil, !state.isClosed, state.connectedCount == 0 || !pulse.isFelt else {
                    return (false, Deque<Job>())
                }
                state.away = reason
                defer { (state.waiting, state.waitingSearches) = ([], []) }
                return (true, state.waiting + state.waitingSearches)
            }
            for job in refused { job.refuse(.unavailable(reason)) }
            if isFirst {
                report(.away(reason))
                let thread = Thread { self.waitUntilBack() }
                thread.name = "postgres-retry"
                thread.start()
            }
            throw DatabaseError.unavailable(reason)
        }
    }

    private func waitUntilBack() {
        var pause = Self.retryMilliseconds.lowerBound
        while !state.withLock({ $0.isClosed }) {
            Thread.sleep(forTimeInterval: Double(pause) / 1000)
            if let connection = try? PostgresConnection(parameters, pulse) {
                connection.close()
                state.withLock { $0.away = nil }
                report(.back)
                return
            }
            pause = min(pause * 2, Self.retryMilliseconds.upperBound)
        }
    }
}

/// What a thread is wanted for.
enum PostgresJobKind: Sendable {
    case transaction
    /// For a list or a search, which may be slow.
    case search
}

/// How many connections a process opens, and how long who waits for one.
package struct PostgresLimits: Sendable {
    package static let connectionsDefault = 8
    package static let waitMillisecondsDefault = 5000

    package let connections: Int
    /// Without a free connection in this time, a transaction is given up before it has begun.
    let waitMilliseconds: Int
    let waitingMax: Int
    let searches: SearchLimits

    /// Searches use so many of the connections at the same time: a quarter, and one at least.
    var searchConnections: Int { max(1, connections / 4) }

    package init(
        connections: Int = connectionsDefault,
        waitMilliseconds: Int = waitMillisecondsDefault,
        waitingMax: Int = 10_000,
        searches: SearchLimits = SearchLimits()
    ) {
        self.connections = connections
        self.waitMilliseconds = waitMilliseconds
        self.waitingMax = waitingMax
        self.searches = searches
    }
}

/// What an operator wants to know of the connection to the database.
package enum PostgresReport: Sendable, Equatable {
    case away(String)
    case back
    /// The notifications of other nodes are heard, and caches are used.
    case hears
    /// They are not: caches are bypassed.
    case deaf(String)
}

/// A thread's place for its connection.
///
/// Made anew when the old one is lost. A class, since it is handed through a job; only its thread uses it.
final class PostgresSlot {
    private var connection: PostgresConnection?
    private let connect: () throws -> PostgresConnection
    private let whenDropped: () -> Void

    init(connect: @escaping () throws -> PostgresConnection, whenDropped: @escaping () -> Void) {
        self.connect = connect
        self.whenDropped = whenDropped
    }

    func take() throws -> PostgresConnection {
        if let connection, connection.failure != .lost { return connection }
        drop()
        let new = try connect()
        connection = new
        return new
    }

    func drop() {
        guard let connection else { return }
        connection.close()
        self.connection = nil
        whenDropped()
    }
}
