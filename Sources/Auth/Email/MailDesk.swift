import OrderedCollections
import Storage

/// The mails as admins look at them: the outbox, the development inbox, and whether the server takes any.
struct MailDesk: Sendable {
    static let waitSecondsMax = 60
    static let waitSecondsDefault = 5
    private static let lookMilliseconds = 100
    /// The development inbox shows no older ones.
    private static let inboxMax = 1000

    let services: Services
    let readiness: Readiness

    /// Newest first, without what they say.
    func outbox(_ state: OutboxMail.State?, page: Paging) async throws -> PageOf<OutboxMail> {
        let list = ListQuery(
            name: "outbox:\(state?.rawValue ?? "")",
            table: "outbox",
            // Mails to nobody are left out.
            alternatives: [state.map { "state = \($0)" } ?? "state <> 'void'"],
            order: ["id"],
            isDescending: true
        ) { row in [.text(try row.get("id"))] }
        return try await services.page(page, of: list, OutboxMail.init)
    }

    /// What to look for in the development inbox.
    struct Wanted: Sendable {
        var recipient: EmailAddress?
        var template: MailTemplate?
        /// Only what came after this one.
        var after: Identifier<OutboxMail>?
    }

    /// The mails of the development inbox, newest first, as they would be read.
    ///
    /// Throws `feature_disabled` where there is none.
    func inbox(_ wanted: Wanted, page: Paging) async throws -> PageOf<JSON> {
        let found = try await find(wanted)
        let part = try services.page(page, of: found.mails, named: "inbox", isDescending: true) { mail in
            [.integer(mail.createdAt.milliseconds), .text(mail.id.rawValue)]
        }
        return part.map { found.render($0) }
    }

    /// What the development inbox holds, and how it is shown.
    private struct Found {
        let mails: [OutboxMail]
        let services: Services
        let settings: Settings
        let linkBase: String

        func render(_ mail: OutboxMail) -> JSON {
            let values = mail.variables(services, linkBase: linkBase)
            let text = MailText(mail.template, values, settings)
            return [
                "id": .string(mail.id.rawValue), "to": .string(mail.recipient),
                "template": .string(mail.template.rawValue), "collection": .string(mail.collection),
                "created_at": mail.createdAt.json, "subject": .string(text.subject), "text": .string(text.text),
                "html": .string(text.html), "link": .optional(values["link"]), "token": .optional(values["token"]),
                "code": .optional(values["code"]),
            ]
        }
    }

    private func find(_ wanted: Wanted) async throws -> Found {
        let settings = try await services.settings()
        guard case .inbox = MailTransport(settings, services.ownAddress),
            let base = MailTransport.inbox.linkBase(settings, services.ownAddress)
        else {
            throw AuthError(
                .featureDisabled,
                "There is a development inbox only while smtp.enabled is 0 and the server listens on a loopback address."
            )
        }
        let now = services.clock.now()
        let mails = try await services.db.read { tx in
            try tx.inboxMails(wanted.template, after: wanted.after, at: now, limit: Self.inboxMax)
        }
        let recipient = wanted.recipient?.folded
        return Found(
            mails: mails.filter { recipient == nil || $0.recipient.folded == recipient },
            services: services,
            settings: settings,
            linkBase: base
        )
    }

    /// The newest such mail of the development inbox, as soon as there is one.
    ///
    /// Throws `not_found` when none comes in that many seconds.
    func wait(for wanted: Wanted, seconds: Int) async throws -> JSON {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            let found = try await find(wanted)
            if let newest = found.mails.first { return found.render(newest) }
            if readiness.isDraining {
                throw AuthError(.unavailable, "The server is being stopped.", retryAfterSeconds: 1)
            }
            guard ContinuousClock.now < deadline else {
                throw AuthError(.notFound, "No such mail came within \(seconds) seconds.")
            }
            try await Task.sleep(for: .milliseconds(Self.lookMilliseconds))
        }
    }

    /// Sends a mail now, past the outbox, whether or not `smtp.enabled` is on.
    ///
    /// Throws `mail_not_configured`, and `mail_not_sent` with what the server said.
    func sendTest(to recipient: EmailAddress, by actor: Actor) async throws {
        guard let server = SMTPServer(try await services.settings()) else {
            throw AuthError(.mailNotConfigured, "Set smtp.host and smtp.from first.")
        }
        let now = services.clock.now()
        let message = MailMessage(
            id: Identifier<OutboxMail>(at: now, random: services.random).rawValue,
            recipient: recipient.text,
            date: now,
            content: MailText(
                .notice,
                [
                    "event": "Mail from Latchkey works", "time": now.rfc3339, "address": actor.client.address,
                    "explanation": "An admin sent this mail to try the settings smtp.*.",
                ],
                Settings(stored: [:])
            )
        )
        let connection = SMTPConnection()
        do {
            try await connection.send(message, by: server)
        } catch let failure as SMTPFailure {
            throw AuthError(
                .mailNotSent,
                "\(server.host), port \(server.port), did not take the mail: \(failure.description)"
            )
        }
        try await services.db.write { [services] tx in
            try tx.audit(.testMailSent, by: actor, details: ["host": .string(server.host)], services)
        }
    }
}
