import Synchronization

/// How mails leave, as the settings have it.
enum MailTransport: Sendable {
    case smtp(SMTPServer)
    /// They are kept for an admin to read: nothing is set up, and nobody but this machine can reach the server.
    case inbox
    /// Not at all; the text says what to set.
    case off(String)

    init(_ settings: Settings, _ own: OwnAddress) {
        guard settings.isOn("smtp.enabled") else {
            self =
                own.isLoopback
                ? .inbox : .off("Mail is off. Set smtp.host and smtp.from, then smtp.enabled to 1, in the settings.")
            return
        }
        guard let server = SMTPServer(settings) else {
            self = .off("The settings smtp.host and smtp.from are needed to send mail.")
            return
        }
        self = .smtp(server)
    }

    /// What links in mails begin with: the setting `app.url`, never anything of a request.
    ///
    /// Without it, mails of the development inbox use the address that the server listens on. Nil when there is none.
    func linkBase(_ settings: Settings, _ own: OwnAddress) -> String? {
        var url = settings.text("app.url")
        while url.hasSuffix("/") { url.removeLast() }
        if !url.isEmpty { return url }
        if case .inbox = self { return own.url }
        return nil
    }

    /// Throws `mail_not_configured` when no mail with a link could go out.
    func check(_ settings: Settings, _ own: OwnAddress) throws {
        if case .off(let reason) = self { throw AuthError(.mailNotConfigured, reason) }
        guard linkBase(settings, own) != nil else {
            throw AuthError(
                .mailNotConfigured,
                "Links in mails begin with the setting app.url, which is empty. Set it."
            )
        }
    }
}

/// Where mails are handed in.
struct SMTPServer: Sendable {
    let host: String
    let port: Int
    /// TLS from the first byte; otherwise STARTTLS where it is offered.
    let isImplicitTLS: Bool
    /// Empty: no sign-in.
    let user: String
    let password: Secret<String>
    let sender: Mailbox

    /// Nil while a host or a sender is missing.
    ///
    /// The sender is `smtp.from`, or else `no-reply` at the host of `app.url`.
    init?(_ settings: Settings) {
        let host = settings.text("smtp.host")
        let from = settings.text("smtp.from")
        let ownHost = settings.text("app.url").urlHost ?? ""
        guard !host.isEmpty, let sender = Mailbox(parsing: from.isEmpty ? "no-reply@\(ownHost)" : from) else {
            return nil
        }
        self.host = host
        port = settings.count("smtp.port")
        isImplicitTLS = settings.isOn("smtp.secure")
        user = settings.text("smtp.user")
        password = Secret(settings.text("smtp.pass"))
        self.sender = sender
    }

    var isLoopback: Bool { OwnAddress.isLoopback(host) }
}

/// The address that this process listens on.
///
/// A class, since a port of 0 becomes one only when the server is bound.
final class OwnAddress: Sendable {
    let isLoopback: Bool
    private let address: Mutex<String>

    init(host: String, port: Int) {
        isLoopback = Self.isLoopback(host)
        address = Mutex(Self.url(host, port))
    }

    /// Without a slash at its end.
    var url: String { address.withLock { $0 } }

    func note(_ url: String) {
        address.withLock { $0 = url }
    }

    static func url(_ host: String, _ port: Int) -> String {
        "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    /// Whether only this machine can reach it.
    static func isLoopback(_ host: String) -> Bool {
        let name = host.lowercased()
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        return ["localhost", "::1", "[::1]"].contains(name)
            || parts.count == 4 && parts.first == 127 && parts.allSatisfy { $0 != nil }
    }
}
