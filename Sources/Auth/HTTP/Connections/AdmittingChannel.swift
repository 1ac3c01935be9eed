import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Hummingbird's HTTP/1 channel behind the admission of connections.
struct AdmittingChannel: ServerChildChannel {
    /// The connection found no place, and is closed.
    struct NoPlace: Error {}

    let connections: Connections
    let budget: BodyBudget
    let limits: ConnectionLimits
    /// The proxies that are trusted at the moment.
    let trustedProxies: @Sendable () -> [AddressRange]
    /// The answer to a head that can't be read.
    let refuse: @Sendable (HTTPParserError) -> (head: HTTPResponse, body: ByteBuffer)
    private let http: HTTP1Channel

    init(
        connections: Connections,
        budget: BodyBudget,
        limits: ConnectionLimits = .standard,
        trustedProxies: @escaping @Sendable () -> [AddressRange],
        refuse: @escaping @Sendable (HTTPParserError) -> (head: HTTPResponse, body: ByteBuffer),
        responder: @escaping HTTPChannelHandler.Responder
    ) {
        self.connections = connections
        self.budget = budget
        self.limits = limits
        self.trustedProxies = trustedProxies
        self.refuse = refuse
        // Deadlines are ours; the size of a field stays below that of all.
        http = HTTP1Channel(
            responder: responder,
            configuration: .init(
                idleTimeout: nil,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: ConnectionLimits.headerListBytesMax,
                    maxHeaderListSize: ConnectionLimits.headerListBytesMax,
                    maxHeaderFieldCount: ConnectionLimits.headersMax
                )
            )
        )
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<HTTP1Channel.Value> {
        let socket = channel.remoteAddress?.ipAddress ?? "local"
        let trusted = trustedProxies()
        let isProxy = trusted.contains { $0.contains(socket) }
        let connection = Connection(address: AddressRange.limitKey(socket), channel: channel)
        guard connections.admit(connection, isCounted: !isProxy) else {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(NoPlace())
        }
        let client: @Sendable (HTTPRequest) -> String? = { head in
            guard isProxy else { return nil }
            let forwarded = head.headerFields[values: .xForwardedFor].map { TextGate.text($0, as: .headerValue) ?? "" }
            let address = ClientAddress.resolve(socket: socket, forwardedFor: forwarded, trusted: trusted)
            return AddressRange.limitKey(address)
        }
        do {
            let watch = ConnectionWatch(connection, connections, budget, limits, on: channel.eventLoop)
            let handlers = channel.pipeline.syncOperations
            let sizes = AdaptiveRecvByteBufferAllocator(
                minimum: 512,
                initial: 2048,
                maximum: ConnectionLimits.readBytes
            )
            try channel.syncOptions?.setOption(.recvAllocator, value: sizes)
            // One piece at a time, so that what is sent ahead stays below the limit of a head, which counts it.
            try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            try handlers.addHandler(SocketHandler(watch, limits))
            let value = http.setup(channel: channel, logger: logger)
            let codec = try handlers.handler(type: HTTPConnectionStateHandler.self)
            try handlers.addHandlers(
                [PipeliningHandler(), MessageHandler(watch, isProxy: isProxy, client: client, refuse: refuse)],
                position: .before(codec)
            )
            return value
        } catch {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(error)
        }
    }

    func handle(value: HTTP1Channel.Value, logger: Logger) async {
        await http.handle(value: value, logger: logger)
    }
}
