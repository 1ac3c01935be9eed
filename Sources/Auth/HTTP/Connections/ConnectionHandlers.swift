import DequeModule
import HTTPTypes
import NIOCore
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
        state = ConnectionState(limits, at: loop.now)
        self.connection = connection
        self.connections = connections
        self.budget = budget
        self.loop = loop
        connection.note(state, at: loop.now)
    }

    /// The last request has begun, and not all of it has come.
    var isBodyUnread: Bool { state.phase == .body }
    var isLingering: Bool { state.phase == .lingering }
    var isHeadTooLong: Bool { state.headBytes > ConnectionLimits.headBytesMax }

    func received(_ count: Int) { update { $0.received(count, at: loop.now) } }

    /// `address` is whom the request comes from, where that is not the socket's other end.
    func headEnded(from address: String?, isLast: Bool) {
        reserved.append((0, address ?? connection.address))
        update { $0.headEnded(isLast: isLast, at: loop.now) }
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

    func requestEnded() { update { $0.requestEnded(at: loop.now) } }

    /// True when the connection must be closed, since the rest of a body is not wanted.
    func answerEnded() -> Bool {
        if let first = reserved.popFirst() { budget.release(first.bytes, of: first.address) }
        defer { keepDeadline() }
        return update { $0.answerEnded(at: loop.now) }
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
        defer { connection.note(state, at: loop.now) }
        return change(&state)
    }
}

/// First in the pipeline: sees what comes from the socket, and closes a connection that is too late or sends too long a head.
final class SocketHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    let watch: ConnectionWatch
    private let answerSeconds: Int64
    private var stuck: Scheduled<Void>?

    init(_ watch: ConnectionWatch, answerSeconds: Int64) {
        self.watch = watch
        self.answerSeconds = answerSeconds
    }

    func handlerAdded(context: ChannelHandlerContext) { watch.keepDeadline() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !watch.isLingering else { return }
        watch.received(unwrapInboundIn(data).readableBytes)
        context.fireChannelRead(data)
        if watch.isHeadTooLong { context.close(promise: nil) }
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
            stuck = context.eventLoop.scheduleTask(in: .seconds(answerSeconds)) { channel.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        stuck?.cancel()
        watch.closed()
        context.fireChannelInactive()
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
    /// Whom a request comes from, where that is not the socket's other end.
    private let client: (HTTPRequest) -> String?

    init(_ watch: ConnectionWatch, client: @escaping (HTTPRequest) -> String?) {
        self.watch = watch
        self.client = client
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
            if watch.isBodyUnread { head.headerFields[.connection] = "close" }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body: context.write(data, promise: promise)
        case .end:
            context.write(data, promise: promise)
            guard watch.answerEnded() else { return }
            // To close both directions at once would have the kernel reset the connection, and the answer be lost.
            context.flush()
            context.close(mode: .output, promise: nil)
            // Nobody else may be asking for more of it.
            context.read()
        }
    }
}
