import CCurl
import Foundation
import Synchronization

/// A mail on its way.
struct MailMessage: Sendable {
    /// The same at every try, so that a mailbox can tell a repetition.
    let id: String
    let recipient: String
    let date: Timestamp
    let content: MailText
}

/// Why a mail was not taken.
struct SMTPFailure: Error, CustomStringConvertible {
    /// For admins: what the server said or what came between, without secrets.
    let description: String
    /// Nothing gets through at the moment: another mail would fare no better.
    let isOutage: Bool
    /// The server doesn't want this mail (a reply of 5xx, RFC 5321 §4.2.1).
    let isRefusal: Bool
    /// Why the transfer was broken off by this process, if it was.
    var stop: Stop?

    enum Stop: Sendable {
        /// The server can't have it.
        case beforeSent
        /// Nobody knows whether the server has it.
        case unacknowledged
    }
}

/// Breaks off transfers that are under way.
///
/// A class, since it is set once, by another thread.
final class StopSign: Sendable {
    private let flag = Atomic(false)

    var isSet: Bool { flag.load(ordering: .relaxed) }

    func set() { flag.store(true, ordering: .relaxed) }
}

/// A connection to the SMTP server, kept from mail to mail.
///
/// An actor with a thread of its own, since libcurl blocks.
///
/// TLS: implicit, or STARTTLS where it is offered. The certificate is verified, except on a loopback address, whose
/// traffic nobody can reach who could not read the server's memory as well. A password goes only over TLS or loopback.
actor SMTPConnection {
    private static let connectMilliseconds = 10_000
    /// For each reply; some servers look at a mail for long before they take it (RFC 5321 §4.5.3.2.6).
    private static let replySeconds = 180
    /// For a whole mail.
    private static let transferMilliseconds = 300_000

    private let executor: BlockingExecutor
    private let stop: StopSign
    private var handle: UnsafeMutableRawPointer?

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(stop: StopSign = StopSign()) {
        executor = BlockingExecutor(name: "smtp")
        self.stop = stop
    }

    /// Says goodbye on the connection's own thread, however long the server takes to answer.
    isolated deinit {
        if let handle { curl_easy_cleanup(handle) }
    }

    var isOpen: Bool { handle != nil }

    /// Returns when the server has taken the mail.
    func send(_ message: MailMessage, by server: SMTPServer) throws {
        guard Curl.isPrepared, let curl = handle ?? curl_easy_init() else {
            throw SMTPFailure(description: "libcurl can't be used", isOutage: true, isRefusal: false)
        }
        handle = curl
        curl_easy_reset(curl)
        try withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(CURL_ERROR_SIZE)) { error in
            error.initialize(repeating: 0)
            var refusal = lk_smtp_refusal()
            try withUnsafeMutablePointer(to: &refusal) { refusal in
                lk_smtp_listen(curl, refusal, error.baseAddress)
                let headers = Curl.list(self.headers(message, server))
                let recipients = Curl.list([message.recipient])
                let mime = Self.mime(message.content, curl)
                defer {
                    curl_slist_free_all(headers)
                    curl_slist_free_all(recipients)
                    curl_mime_free(mime)
                    // What was set points into this frame.
                    curl_easy_reset(curl)
                }
                prepare(curl, server)
                _ = lk_curl_set_list(curl, CURLOPT_HTTPHEADER, headers)
                _ = lk_curl_set_list(curl, CURLOPT_MAIL_RCPT, recipients)
                _ = lk_curl_set_mime(curl, mime)
                let outcome = withExtendedLifetime(stop) {
                    let context = Unmanaged.passUnretained(stop).toOpaque()
                    lk_curl_watch(curl, { context, _, _, _, _ in SMTPConnection.isStopped(context) ? 1 : 0 }, context)
                    return curl_easy_perform(curl)
                }
                guard outcome != CURLE_OK else { return }
                if outcome == CURLE_ABORTED_BY_CALLBACK {
                    let isSent = refusal.pointee.is_mail_sent != 0
                    throw SMTPFailure(
                        description: "the server was stopped",
                        isOutage: true,
                        isRefusal: false,
                        stop: isSent ? .unacknowledged : .beforeSent
                    )
                }
                let reply = withUnsafeBytes(of: &refusal.pointee.text) { Self.text($0) }
                throw Self.failure(
                    outcome,
                    reply: reply,
                    isAboutMail: refusal.pointee.is_about_mail != 0 || refusal.pointee.is_mail_sent != 0,
                    UnsafeRawBufferPointer(error)
                )
            }
        }
    }

    private static func isStopped(_ context: UnsafeMutableRawPointer?) -> Bool {
        context.map { Unmanaged<StopSign>.fromOpaque($0).takeUnretainedValue().isSet } ?? false
    }

    private func prepare(_ curl: UnsafeMutableRawPointer, _ server: SMTPServer) {
        let host = server.host.contains(":") && !server.host.hasPrefix("[") ? "[\(server.host)]" : server.host
        let scheme = server.isImplicitTLS ? "smtps" : "smtp"
        _ = lk_curl_set_text(curl, CURLOPT_URL, "\(scheme)://\(host):\(server.port)")
        _ = lk_curl_set_text(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
        _ = lk_curl_set_text(curl, CURLOPT_PROXY, "")
        _ = lk_curl_set_number(curl, CURLOPT_NOSIGNAL, 1)
        _ = lk_curl_set_number(curl, CURLOPT_CONNECTTIMEOUT_MS, Self.connectMilliseconds)
        _ = lk_curl_set_number(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, Self.replySeconds)
        _ = lk_curl_set_number(curl, CURLOPT_TIMEOUT_MS, Self.transferMilliseconds)
        _ = lk_curl_set_text(curl, CURLOPT_MAIL_FROM, server.sender.address.text)
        let isTLSNeeded = server.isImplicitTLS || !server.user.isEmpty && !server.isLoopback
        _ = lk_curl_set_number(
            curl,
            CURLOPT_USE_SSL,
            isTLSNeeded ? Int(CURLUSESSL_ALL.rawValue) : Int(CURLUSESSL_TRY.rawValue)
        )
        _ = lk_curl_set_number(curl, CURLOPT_SSL_VERIFYPEER, server.isLoopback ? 0 : 1)
        _ = lk_curl_set_number(curl, CURLOPT_SSL_VERIFYHOST, server.isLoopback ? 0 : 2)
        guard !server.user.isEmpty else { return }
        _ = lk_curl_set_text(curl, CURLOPT_USERNAME, server.user)
        _ = lk_curl_set_text(curl, CURLOPT_PASSWORD, server.password.reveal())
    }

    private func headers(_ message: MailMessage, _ server: SMTPServer) -> [String] {
        let domain = server.sender.address.text.split(separator: "@").last ?? "localhost"
        return [
            // libcurl adds the boundary.
            "Content-Type: multipart/alternative",
            "Date: \(MailHeader.date(message.date))",
            "From: \(server.sender.header)",
            "To: \(message.recipient)",
            "Subject: \(MailHeader.text(message.content.subject))",
            "Message-ID: <\(message.id)@\(domain)>",
            // No out-of-office answers (RFC 3834).
            "Auto-Submitted: auto-generated",
        ]
    }

    /// Text and HTML to choose from, each as quoted-printable.
    private static func mime(_ content: MailText, _ curl: UnsafeMutableRawPointer) -> OpaquePointer? {
        let mime = curl_mime_init(curl)
        for (type, text) in [("text/plain", content.text), ("text/html", content.html)] {
            let part = curl_mime_addpart(mime)
            let lines = text.replacing("\r\n", with: "\n").replacing("\n", with: "\r\n")
            curl_mime_data(part, lines, lines.utf8.count)
            curl_mime_type(part, "\(type); charset=utf-8")
            curl_mime_encoder(part, "quoted-printable")
        }
        return mime
    }

    private static func failure(_ outcome: CURLcode, reply: String, isAboutMail: Bool, _ error: UnsafeRawBufferPointer)
        -> SMTPFailure
    {
        let own = Self.text(error)
        let cause = own.isEmpty ? String(cString: curl_easy_strerror(outcome)) : own
        // 421: the server is about to close, whatever it was asked.
        let isAboutMail = isAboutMail && !reply.hasPrefix("421")
        return SMTPFailure(
            description: reply.isEmpty ? cause : "\(cause) (the server said: \(reply))",
            isOutage: !isAboutMail,
            // A mail that was sent and never acknowledged may have been taken: it is not sent forever either.
            isRefusal: isAboutMail && (reply.hasPrefix("5") || reply.isEmpty)
        )
    }

    /// Up to the NUL, printable: a server may say anything.
    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        let printed = bytes.prefix { $0 != 0 }.filter { $0 >= 0x20 && $0 != 0x7F }
        return TextGate.shown(printed, bytesMax: TextKind.mailReply.bytesMax).trimmed
    }
}

/// Runs an actor on a thread where it may block.
private final class BlockingExecutor: SerialExecutor {
    private let queue: DispatchQueue

    init(name: String) {
        queue = DispatchQueue(label: name)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
