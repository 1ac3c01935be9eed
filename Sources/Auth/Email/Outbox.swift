import Storage

/// Where flows leave mails, in the transaction that does what the mail is about: it goes out if and only if that happened.
///
/// A mail is delivered after the commit by ``Delivery``, or kept in the development inbox. What it says is sealed until
/// then and erased afterwards.
struct Outbox: Sendable {
    /// Mails of one kind to one account, in ``floodSeconds``; beyond them nothing is sent, and the answer stays the same.
    static let floodMax = 20
    static let floodSeconds = 3600
    /// How long delivery is tried.
    static let lifetimeSeconds = 86_400

    let services: Services
    private let state: OutboxMail.State

    /// Throws `mail_not_configured`.
    init(_ services: Services, _ settings: Settings) throws {
        let transport = MailTransport(settings, services.ownAddress)
        try transport.check(settings, services.ownAddress)
        if case .inbox = transport { state = .inbox } else { state = .pending }
        self.services = services
    }

    /// Mails a one-time token to whoever has this name, which whoever asks need not be.
    ///
    /// When nobody has it, when they may not be mailed, and when they were mailed too often, the same work leads to
    /// nothing.
    func request(
        _ template: MailTemplate,
        as event: AuditEvent,
        to name: AccountName,
        in collection: Collection,
        by actor: Actor
    ) async throws {
        let now = services.clock.now()
        let nobody = UserID(at: now, random: services.random)
        let since = now.advanced(bySeconds: -Self.floodSeconds)
        let (found, count) = try await services.db.read { tx in
            try tx.addressee(name, in: collection.id, orCountFor: nobody, of: template, since: since)
        }
        let wanted = count < Self.floodMax ? found : nil
        try await services.write(as: actor) { [services] tx in
            // It may have been suspended, removed, or moved to another address since.
            let isStill = try tx.isAddressee(wanted ?? Addressee(id: nobody, email: ""))
            let addressee = isStill ? wanted : nil
            try mailToken(template, to: addressee, in: collection, tx)
            let outcome: AuditOutcome = addressee == nil ? .failure : .success
            try tx.audit(event, by: actor, on: addressee?.id, outcome: outcome, services)
        }
    }

    /// Mails a new one-time token, and a code where its purpose has one; the account's earlier ones of this purpose die.
    ///
    /// `payload` is kept with the token. Without an addressee, the same statements leave a token that nobody knows and a
    /// mail that nobody gets; it takes the place of an earlier token of `subject` if that is given.
    func mailToken(
        _ template: MailTemplate,
        to addressee: Addressee?,
        insteadOf subject: UserID? = nil,
        in collection: Collection,
        payload: String? = nil,
        _ tx: Transaction
    ) throws {
        guard let purpose = template.purpose else { preconditionFailure("\(template) carries no token") }
        let now = services.clock.now()
        let token = OneTimeToken(random: services.random)
        let code = purpose.hasCode ? OneTimeCode(random: services.random) : nil
        let id = addressee?.id ?? subject
        let subject: OneTimeSubject = id.map { .user($0) } ?? .nobody(UserID(at: now, random: services.random))
        let digest = code?.digest(purpose, of: subject, by: services.sealingKey)
        try tx.issueOneTimeToken(token, code: digest, for: purpose, of: subject, payload: payload, at: now)
        var values = ["token": token.text]
        values["code"] = code?.text
        try post(template, values, to: addressee, collection, seconds: purpose.lifetimeSeconds, now, tx)
    }

    /// Tells the owner of an account what happened to it, at the address that it has, or at a former one.
    ///
    /// Nothing for accounts that get no mail; nothing that isn't urgent for those that got as many as they may in a while.
    func notify(
        _ user: User,
        at former: String? = nil,
        of notice: Notice,
        in collection: Collection,
        from client: Client,
        _ tx: Transaction
    ) throws {
        guard let addressee = user.addressee(at: former) else { return }
        let now = services.clock.now()
        let start = now.advanced(bySeconds: -Self.floodSeconds)
        guard try notice.isUrgent || tx.countNotice(to: user.id, max: Self.floodMax, since: start, at: now) else {
            return
        }
        let values = [
            "event": notice.event, "explanation": notice.explanation, "time": now.rfc3339, "address": client.address,
        ]
        try post(.notice, values, to: addressee, collection, seconds: Self.lifetimeSeconds, now, tx)
    }

    /// Whether an account got as many mails of a kind as it may get in a while.
    func isFlooded(_ user: UserID, by template: MailTemplate, _ tx: Transaction) throws -> Bool {
        let since = services.clock.now().advanced(bySeconds: -Self.floodSeconds)
        return try tx.countMails(of: template, to: user, since: since) >= Self.floodMax
    }

    private func post(
        _ template: MailTemplate,
        _ values: [String: String],
        to addressee: Addressee?,
        _ collection: Collection,
        seconds: Int,
        _ now: Timestamp,
        _ tx: Transaction
    ) throws {
        let id = Identifier<OutboxMail>(at: now, random: services.random)
        let content = JSON(values).serialized
        let isKept = state == .inbox
        try tx.insertMail(
            OutboxMail(
                id: id,
                state: addressee == nil ? .void : state,
                template: template,
                collection: collection.name,
                userID: addressee?.id,
                recipient: addressee?.email ?? "",
                content: try services.sealingKey.seal(content, place: OutboxMail.place(id), random: services.random),
                attempts: 0,
                refusals: 0,
                nextAttemptAt: now,
                lastError: nil,
                createdAt: now,
                expiresAt: now.advanced(bySeconds: isKept ? Self.lifetimeSeconds : min(seconds, Self.lifetimeSeconds)),
                settledAt: nil
            )
        )
    }
}

extension Services {
    /// Throws `mail_not_configured` when no mail can go out.
    func outbox() async throws -> Outbox {
        try Outbox(self, try await settings())
    }

    /// Nil when no mail can go out: for mails that are not what a request is for.
    func outboxIfOn() async throws -> Outbox? {
        do {
            return try await outbox()
        } catch let error as AuthError where error.code == .mailNotConfigured {
            return nil
        }
    }
}

/// An account that may be mailed, as far as a mail needs it.
struct Addressee: Sendable {
    let id: UserID
    let email: String
}

/// By what somebody names an account: whichever of these fits.
struct AccountName: Sendable {
    var id: UserID?
    var emailFolded: String?
    var usernameFolded: String?

    static func email(_ email: EmailAddress) -> AccountName { AccountName(emailFolded: email.folded) }

    static func id(_ id: UserID) -> AccountName { AccountName(id: id) }

    /// An id, a username or an email.
    static func any(_ text: String) -> AccountName {
        AccountName(
            id: UserID(rawValue: text),
            emailFolded: EmailAddress(parsing: text)?.folded,
            usernameFolded: Username(parsing: text)?.folded
        )
    }
}

/// A row of the outbox.
struct OutboxMail: Sendable {
    enum State: String, Sendable, SQLConvertible, CaseIterable {
        /// To be delivered.
        case pending
        /// Being delivered; to be tried again when its deliverer doesn't tell what became of it.
        case sending
        case sent
        /// Given up: the server refused it again and again.
        case failed
        /// Given up: what it is about is over.
        case expired
        /// Kept for the development inbox.
        case inbox
        /// To nobody; written so that an unknown address costs the work of a known one.
        case void
    }

    let id: Identifier<OutboxMail>
    let state: State
    let template: MailTemplate
    let collection: String
    let userID: UserID?
    let recipient: String
    /// Sealed JSON of the template's variables; nil once it is not needed any more.
    let content: String?
    let attempts: Int
    /// How many of the tries ended in the server not wanting this mail.
    let refusals: Int
    let nextAttemptAt: Timestamp
    let lastError: String?
    let createdAt: Timestamp
    let expiresAt: Timestamp
    /// When it was sent or given up.
    let settledAt: Timestamp?

    static func place(_ id: Identifier<OutboxMail>) -> String { "outbox:\(id)" }

    /// What the template's variables stand for; empty when the content is gone.
    func values(_ services: Services) -> [String: String] {
        guard let content, let text = services.sealingKey.open(content, place: Self.place(id)),
            case .object(let members)? = JSON(stored: text.reveal())
        else { return [:] }
        return Dictionary(
            uniqueKeysWithValues: members.compactMap { name, value in value.text.map { (name.text, $0) } }
        )
    }

    /// The variables that every template has, and the mail's own, with a link from `base`.
    func variables(_ services: Services, linkBase base: String) -> [String: String] {
        var values = values(services)
        values["email"] = recipient
        values["appUrl"] = base
        values["collection"] = collection
        if let page = template.page, let token = values["token"] {
            values["link"] = "\(base)\(page)?token=\(token)&collection=\(collection)"
        }
        return values
    }

    /// As admins see it: that it was sent, not what it says.
    var json: JSON {
        [
            "id": .string(id.rawValue), "state": .string(state.rawValue), "template": .string(template.rawValue),
            "to": .string(recipient), "collection": .string(collection), "user_id": .optional(userID?.rawValue),
            "attempts": .integer(Int64(attempts)),
            "next_attempt_at": state == .pending ? nextAttemptAt.json : .null, "last_error": .optional(lastError),
            "created_at": createdAt.json, "expires_at": expiresAt.json, "settled_at": settledAt?.json ?? .null,
        ]
    }
}
