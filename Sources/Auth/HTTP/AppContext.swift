import Hummingbird
import NIOCore

/// What Hummingbird hands over with a request: whom it came from.
struct AppContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The numeric address of the socket's other end; `local` for a Unix socket.
    let socketAddress: String
    /// Nil in tests without a socket.
    private let channel: (any Channel)?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
        socketAddress = source.channel.remoteAddress?.ipAddress ?? "local"
    }

    init(source: some RequestContextSource, socketAddress: String) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = nil
        self.socketAddress = socketAddress
    }

    /// Runs `body`, whose task is cancelled when the client closes the connection.
    func whileClientStays<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
        guard let channel, let presence = try? await presence(on: channel) else { return try await body() }
        return try await presence.whilePresent(body)
    }

    private func presence(on channel: any Channel) async throws -> ClientPresence {
        try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.handler(type: SocketHandler.self).presence
        }.get()
    }
}
