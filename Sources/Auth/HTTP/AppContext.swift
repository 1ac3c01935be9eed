import Hummingbird
import NIOCore

/// What Hummingbird hands over with a request: whom it came from.
struct AppContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The numeric address of the socket's other end; `local` for a Unix socket.
    let socketAddress: String

    init(source: ApplicationRequestContextSource) {
        self.init(source: source, socketAddress: source.channel.remoteAddress?.ipAddress ?? "local")
    }

    init(source: some RequestContextSource, socketAddress: String) {
        coreContext = CoreRequestContextStorage(source: source)
        self.socketAddress = socketAddress
    }
}
