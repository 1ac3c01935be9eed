import DequeModule
import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Hands over one request of a connection at a time, and lets the other connections have their turn between two of them.
///
/// What is read at a time may hold hundreds of requests that were sent ahead. Their answers would follow each other
/// without a look at any other connection of the event loop, so there is a pause before each of them. An event loop looks
/// at its sockets only when no task is due: the pause grows with the time by which the last one was exceeded.
final class PipeliningHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// Between an answer and the request behind it.
    static let pauseMillisecondsMin: Int64 = 1
    static let pauseMillisecondsMax: Int64 = 1000

    /// What has come of the requests behind the one that is served: at most what one read brings, since no more is read
    /// meanwhile.
    private var held: Deque<HTTPRequestPart> = []
    private var isServing = false
    private var pause = TimeAmount.milliseconds(pauseMillisecondsMin)
    private var isInputClosed = false
    private var isReadWanted = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if !held.isEmpty || isServing && part.isHead {
            held.append(part)
        } else {
            hand(over: part, context)
        }
    }

    func read(context: ChannelHandlerContext) {
        if held.isEmpty { context.read() } else { isReadWanted = true }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let isEnd = if case .end = unwrapOutboundIn(data) { true } else { false }
        context.write(data, promise: promise)
        guard isEnd else { return }
        guard !held.isEmpty else {
            isServing = false
            return
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let due = context.eventLoop.now + pause
        context.eventLoop.scheduleTask(deadline: due) {
            let (handler, context) = bound.value
            handler.adaptPause(to: context.eventLoop.now - due)
            handler.goOn(context)
        }
    }

    /// A loop that is late had no time to look at its sockets: twice as long a pause leaves it some.
    private func adaptPause(to delay: TimeAmount) {
        let (least, most) = (Self.pauseMillisecondsMin, Self.pauseMillisecondsMax)
        let wanted = delay > .milliseconds(least) ? pause + delay : .nanoseconds(pause.nanoseconds / 2)
        pause = min(max(wanted, .milliseconds(least)), .milliseconds(most))
    }

    /// Hands over the next request, as far as it has come.
    private func goOn(_ context: ChannelHandlerContext) {
        isServing = false
        while let part = held.first, !(isServing && part.isHead) {
            held.removeFirst()
            hand(over: part, context)
        }
        context.fireChannelReadComplete()
        guard held.isEmpty else { return }
        if isInputClosed { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        if isReadWanted {
            isReadWanted = false
            context.read()
        }
    }

    private func hand(over part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        if part.isHead { isServing = true }
        context.fireChannelRead(wrapInboundOut(part))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, case .inputClosed = event, !held.isEmpty {
            isInputClosed = true
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    /// What follows is no HTTP: nobody is to wait for what came before it.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        held = []
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        held = []
        context.fireChannelInactive()
    }
}

extension HTTPRequestPart {
    fileprivate var isHead: Bool {
        if case .head = self { true } else { false }
    }
}
