import NIOCore

/// What a connection may cost: its deadlines and its sizes.
struct ConnectionLimits: Sendable {
    /// From the first byte of a request's head to its end.
    var headSeconds: Int64 = 10
    /// A connection that sends nothing between two requests, or before its first one.
    var idleSeconds: Int64 = 75
    /// A body may begin slowly for so long; from then on it must have come at ``bodyBytesPerSecondMin`` on average.
    var bodyGraceSeconds: Int64 = 10
    var bodyBytesPerSecondMin = 1024
    /// From the first byte of the head to the last of the body.
    var requestSeconds: Int64 = 60
    /// An answer that its client doesn't read.
    var answerSeconds: Int64 = 30
    /// A connection that is closed with a body left unread is drained for so long, so that the client gets the answer.
    var lingerSeconds: Int64 = 2

    /// A connection whose request was refused for want of room is read from again after so long: whoever takes no notice
    /// of `Retry-After` must not keep the server busy with refusals.
    var refusalPauseMilliseconds: Int64 = 250

    /// Of the target and all headers together.
    static let headBytesMax = 40_960
    static let headerListBytesMax = 32_768
    static let headersMax = 100
    /// Read from the socket at a time.
    static let readBytes = 16_384

    static let standard = ConnectionLimits()
}

/// How many connections the process takes.
struct ConnectionCaps: Sendable, Equatable {
    /// In all.
    let total: Int
    /// From one address (the first 64 bits of an IPv6 one), unless it is a trusted proxy's.
    let perAddress: Int
}

/// Where a connection stands between two events: a pure state machine, fed with what happens and when.
///
/// Deadlines hold for what the client owes. While the server works on an answer, the client owes nothing.
struct ConnectionState: Sendable {
    enum Phase: Sendable, Equatable {
        /// Nothing of a request has come.
        case idle
        /// Bytes of a head have come, not all of it.
        case head
        /// The head has come, the body not all of it.
        case body
        /// The request is complete, its answer not.
        case answering
        /// The answer is complete and the body is not: whatever still comes is thrown away.
        case lingering
    }

    enum Verdict: Sendable, Equatable {
        case fine
        /// The client is too slow, or sends nothing.
        case close
    }

    private(set) var phase = Phase.idle
    private let limits: ConnectionLimits
    /// When the phase began; of a body, when its request did.
    private var since: NIODeadline
    private var requestBegan: NIODeadline
    private(set) var headBytes = 0
    private var bodyBytes = 0
    /// Answers that are owed.
    private var owed = 0
    /// The last of their requests has come as a whole.
    private var isComplete = true
    /// Its client wants the connection to be closed then.
    private var isLast = false

    init(_ limits: ConnectionLimits, at now: NIODeadline) {
        self.limits = limits
        since = now
        requestBegan = now
    }

    /// Whether the connection can be closed without losing a request.
    var isEvictable: Bool {
        switch phase {
        case .idle, .head, .lingering: true
        case .body, .answering: false
        }
    }

    /// Bytes have come from the socket; of what, the parser says next.
    mutating func received(_ count: Int, at now: NIODeadline) {
        switch phase {
        case .idle:
            (phase, since, requestBegan) = (.head, now, now)
            headBytes = count
        case .head: headBytes += count
        // A head that is sent ahead: the parser gathers it while nobody reads requests.
        case .answering: if isComplete { headBytes += count }
        case .body, .lingering: break
        }
    }

    mutating func headEnded(isLast: Bool, at now: NIODeadline) {
        self.isLast = isLast
        owed += 1
        headBytes = 0
        bodyBytes = 0
        isComplete = false
        if owed == 1 { (phase, since) = (.body, now) }
    }

    mutating func bodyReceived(_ count: Int) {
        bodyBytes += count
    }

    mutating func requestEnded(at now: NIODeadline) {
        isComplete = true
        if phase == .body { (phase, since) = (.answering, now) }
    }

    /// True when the connection must be closed, since nothing that still comes is wanted.
    mutating func answerEnded(at now: NIODeadline) -> Bool {
        // Without a request, it is the answer to what was no HTTP, of which the rest can't be read.
        guard phase != .body, owed > 0, !isLast else {
            owed = 0
            (phase, since) = (.lingering, now)
            return true
        }
        owed -= 1
        since = now
        // Requests that were sent ahead are served as if they came now, and owe the rest of their body from now on.
        switch (owed, isComplete) {
        case (0, _): phase = headBytes > 0 ? .head : .idle
        case (1, false): (phase, requestBegan) = (.body, now)
        case (_, _): phase = .answering
        }
        return false
    }

    /// Nothing that comes is of interest any more.
    mutating func abandon(at now: NIODeadline) {
        (phase, since) = (.lingering, now)
    }

    var owesAnswers: Bool { owed > 0 }

    /// When to look again; nil while the client owes nothing.
    var deadline: NIODeadline? {
        switch phase {
        case .idle: since + .seconds(limits.idleSeconds)
        case .head: since + .seconds(limits.headSeconds)
        case .lingering: since + .seconds(limits.lingerSeconds)
        case .answering: nil
        case .body:
            min(
                requestBegan + .seconds(limits.requestSeconds),
                since + .seconds(limits.bodyGraceSeconds + Int64(bodyBytes / limits.bodyBytesPerSecondMin))
            )
        }
    }

    func verdict(at now: NIODeadline) -> Verdict {
        guard let deadline, deadline <= now else { return .fine }
        return .close
    }
}
