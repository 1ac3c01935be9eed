/// Who is on the other end of a request, as far as the network tells.
struct Client: Sendable, Equatable {
    static let userAgentBytesMax = 256

    /// The numeric address: of the socket, or what a trusted proxy says.
    let address: String
    /// Shortened to ``userAgentBytesMax``, with a question mark for what isn't printable ASCII; nil when none was sent.
    let userAgent: String?

    init(address: String, userAgent: String?) {
        self.address = address
        self.userAgent = userAgent.map { TextGate.shown($0.utf8, bytesMax: Self.userAgentBytesMax) }
    }

    /// The server itself, in the background.
    static let server = Client(address: "local", userAgent: "latchkey")
    /// The command line on the server itself.
    static let commandLine = Client(address: "local", userAgent: "latchkey command line")
}
