import DequeModule
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Keeps the deadlines of one connection and counts its bytes; used on its event loop alone.
///
/// Two handlers tell it what happens: ``SocketHandler`` sees bytes, before they are parsed, and ``MessageHandler``
/// requests and answers.
final class ConnectionWatch {
    private var state: ConnectionState
    private let connection: Connection
    private let connections: Connections
    private let budget: BodyBudget
    private let loop: any EventLoop
    /// When bytes came last, or an answer ended: what the parser makes of the bytes happens at the same time.
    private var now: NIODeadline
    private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?
    /// What was reserved for the requests that are not answered yet, the oldest first.
    private var reserved: Deque<(bytes: Int, address: String)> = []
    /// A body was refused, and with it the rest of the connection.
    private(set) var isRefused = false

    init(
        _ connection: Connection,
        _ connections: Connections,
        _ budget: BodyBudget,
        _ limits: ConnectionLimits,
        on loop: any EventLoop
    ) {
        now = loop.now
        state = ConnectionState(limits, at: now)
        self.connection = connection
        self.connections = connections
        self.budget = budget
        self.loop = loop
        connection.note(state, at: now)
    }

    /// The last request has begun, and not all of it has come.
    var isBodyUnread: Bool { state.phase == .body }
    var isLingering: Bool { state.phase == .lingering }
    var isHeadTooLong: Bool { state.headBytes > ConnectionLimits.headBytesMax }

    func received(_ count: Int) {
        now = loop.now
        update { $0.received(count, at: now) }
    }

    /// `address` is whom the request comes from, where that is not the socket's other end.
    func headEnded(from address: String?, isLast: Bool) {
        reserved.append((0, address ?? connection.address))
        update { $0.headEnded(isLast: isLast, at: now) }
    }

    /// Throws when these bytes may not be kept; from then on none of this connection are.
    func bodyReceived(_ count: Int) throws(BodyBudget.Refusal) {
        state.bodyReceived(count)
        guard let last = reserved.indices.last else { return }
        do throws(BodyBudget.Refusal) {
            try budget.reserve(count, for: reserved[last].address)
        } catch {
            isRefused = true
            throw error
        }
        reserved[last].bytes += count
    }

    func requestEnded() { update { $0.requestEnded(at: now) } }

    /// True when the connection must be closed, since the rest of a body is not wanted.
    func answerEnded() -> Bool {
        if let first = reserved.popFirst() { budget.release(first.bytes, of: first.address) }
        defer { keepDeadline() }
        now = loop.now
        return update { $0.answerEnded(at: now) }
    }

    /// No answer is owed, so that another can be given.
    var isFree: Bool { !state.owesAnswers && state.phase != .lingering }

    /// After the last answer: whatever still comes is thrown away, until the client has had time to read.
    func abandon() {
        now = loop.now
        update { $0.abandon(at: now) }
        keepDeadline()
    }

    /// Sees to it that the connection is looked at when its deadline passes.
    ///
    /// Nothing is scheduled for a request that comes in one piece, as nearly all do: the look for an idle connection is
    /// due already.
    func keepDeadline() {
        guard let deadline = state.deadline else { return }
        if let timer {
            guard deadline < timer.deadline else { return }
            timer.task.cancel()
        }
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = (loop.scheduleTask(deadline: deadline) { bound.value.deadlinePassed() }, deadline)
    }

    private func deadlinePassed() {
        timer = nil
        switch state.verdict(at: loop.now) {
        case .fine: keepDeadline()
        case .close: connection.close()
        }
    }

    func closed() {
        timer?.task.cancel()
        timer = nil
        for (bytes, address) in reserved { budget.release(bytes, of: address) }
        reserved = []
        connections.remove(connection)
    }

    private func update<T>(_ change: (inout ConnectionState) -> T) -> T {
        defer { connection.note(state, at: now) }
        return change(&state)
    }
}

/// Asks the ``SocketHandler`` not to read for a while.
private struct ReadPause: Sendable {}

/// First in the pipeline: sees what comes from the socket, and closes a connection that is too late or sends too long a head.
final class SocketHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    let watch: ConnectionWatch
    let presence = ClientPresence()
    private let limits: ConnectionLimits
    private var stuck: Scheduled<Void>?
    private var pause: Scheduled<Void>?
    /// Somebody wanted to read during the pause.
    private var isReadDue = false

    init(_ watch: ConnectionWatch, _ limits: ConnectionLimits) {
        self.watch = watch
        self.limits = limits
    }

    func handlerAdded(context: ChannelHandlerContext) { watch.keepDeadline() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !watch.isLingering else { return }
        watch.received(unwrapInboundIn(data).readableBytes)
        // The parser bounds headers, but not the target.
        if watch.isHeadTooLong {
            context.fireErrorCaught(HTTPParserError.headerOverflow)
        } else {
            context.fireChannelRead(data)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        watch.keepDeadline()
        context.fireChannelReadComplete()
        // Whatever a lingering connection still sends must be read for its client to see the answer.
        if watch.isLingering { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stuck?.cancel()
        stuck = nil
        if !context.channel.isWritable {
            let channel = context.channel
            stuck = context.eventLoop.scheduleTask(in: .seconds(limits.answerSeconds)) { channel.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }

    func read(context: ChannelHandlerContext) {
        if pause == nil { context.read() } else { isReadDue = true }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is ReadPause else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        pause?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        pause = context.eventLoop.scheduleTask(in: .milliseconds(limits.refusalPauseMilliseconds)) {
            let (handler, context) = bound.value
            handler.pause = nil
            guard handler.isReadDue else { return }
            handler.isReadDue = false
            context.read()
        }
        promise?.succeed()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stuck?.cancel()
        pause?.cancel()
        presence.leave()
        watch.closed()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, case .inputClosed = event { presence.leave() }
        context.fireUserInboundEventTriggered(event)
    }

    func handlerRemoved(context: ChannelHandlerContext) { watch.closed() }
}

/// Behind the parser: sees requests and answers, and closes the connection behind an answer whose request was not read.
final class MessageHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let watch: ConnectionWatch
    private let isProxy: Bool
    /// Whom a request comes from, where that is not the socket's other end.
    private let client: (HTTPRequest) -> String?
    private let refuse: (HTTPParserError) -> (head: HTTPResponse, body: ByteBuffer)

    init(
        _ watch: ConnectionWatch,
        isProxy: Bool,
        client: @escaping (HTTPRequest) -> String?,
        refuse: @escaping (HTTPParserError) -> (head: HTTPResponse, body: ByteBuffer)
    ) {
        self.watch = watch
        self.isProxy = isProxy
        self.client = client
        self.refuse = refuse
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !watch.isLingering else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            watch.headEnded(from: client(head), isLast: head.headerFields[.connection] == "close")
        case .body(let bytes):
            guard !watch.isRefused else { return }
            do {
                try watch.bodyReceived(bytes.readableBytes)
            } catch {
                // Ends the body for its reader, who answers with the refusal.
                context.fireErrorCaught(error)
                return
            }
        case .end: watch.requestEnded()
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            // Other clients' requests come by the same connection of a proxy.
            if !isProxy, head.status == .tooManyRequests || head.status == .serviceUnavailable {
                context.triggerUserOutboundEvent(ReadPause(), promise: nil)
            }
            guard watch.isBodyUnread else {
                context.write(data, promise: promise)
                return
            }
            head.headerFields[.connection] = "close"
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body: context.write(data, promise: promise)
        case .end:
            context.write(data, promise: promise)
            guard watch.answerEnded() else { return }
            closeOutput(context)
        }
    }

    /// A head that can't be read has no request that could be answered, so it is answered here.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError, watch.isFree else {
            context.fireErrorCaught(error)
            return
        }
        let (head, body) = refuse(error)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        context.write(wrapOutboundOut(.end(nil)), promise: nil)
        watch.abandon()
        closeOutput(context)
    }

    /// To close both directions at once would have the kernel reset the connection, and the answer be lost.
    private func closeOutput(_ context: ChannelHandlerContext) {
        context.flush()
        context.close(mode: .output, promise: nil)
        // Nobody else may be asking for more of it.
        context.read()
    }
}
