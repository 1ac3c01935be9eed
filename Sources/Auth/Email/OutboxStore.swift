import Storage

extension Transaction {
    func insertMail(_ mail: OutboxMail) throws {
        announce(Topic.outbox)
        try execute(
            """
            INSERT INTO outbox
                (id, state, template, collection, user_id, recipient, content, attempts, next_attempt_at, created_at, expires_at)
            VALUES (\(mail.id), \(mail.state), \(mail.template), \(mail.collection), \(mail.userID), \(mail.recipient),
                \(mail.content), 0, \(mail.nextAttemptAt), \(mail.createdAt), \(mail.expiresAt))
            """
        )
    }

    /// How many of a kind an account was sent since then.
    func countMails(of template: MailTemplate, to user: UserID, since time: Timestamp) throws -> Int {
        try one(
            """
            SELECT count(*) AS count FROM outbox
            WHERE user_id = \(user) AND created_at > \(time) AND template = \(template)
            """
        )?.get("count") ?? 0
    }

    /// Those that wait longest for a try, if any is due.
    func dueMails(at now: Timestamp, limit: Int) throws -> [OutboxMail] {
        try all(
            """
            SELECT * FROM outbox WHERE state = 'pending' AND next_attempt_at <= \(now)
            ORDER BY next_attempt_at, id LIMIT \(limit)
            """
        ).map(OutboxMail.init)
    }

    /// Reserves a try for one deliverer until then; false when another was faster.
    func claimMail(_ mail: OutboxMail, until time: Timestamp) throws -> Bool {
        try execute(
            """
            UPDATE outbox SET attempts = attempts + 1, next_attempt_at = \(time)
            WHERE id = \(mail.id) AND state = 'pending' AND attempts = \(mail.attempts)
                AND next_attempt_at = \(mail.nextAttemptAt)
            """
        ) == 1
    }

    /// Ends a mail's wait and erases what it said.
    func settleMail(_ id: Identifier<OutboxMail>, as state: OutboxMail.State, error: String?, at now: Timestamp) throws
    {
        try execute(
            """
            UPDATE outbox SET state = \(state), content = NULL, last_error = \(error), settled_at = \(now)
            WHERE id = \(id) AND state = 'pending'
            """
        )
    }

    func postponeMail(_ id: Identifier<OutboxMail>, until time: Timestamp, error: String) throws {
        try execute(
            """
            UPDATE outbox SET next_attempt_at = \(time), last_error = \(error) WHERE id = \(id) AND state = 'pending'
            """
        )
    }

    /// After the way out has changed: what waits is tried at once, and the development inbox is over when there is one.
    func redirectMails(isTransportSet: Bool, at now: Timestamp) throws {
        announce(Topic.outbox)
        try execute("UPDATE outbox SET next_attempt_at = \(now) WHERE state = 'pending'")
        if isTransportSet { try execute("DELETE FROM outbox WHERE state = 'inbox'") }
    }

    /// Newest first; those to nobody are left out.
    func mails(_ state: OutboxMail.State?, page: Paging) throws -> [OutboxMail] {
        try all(
            "SELECT * FROM outbox WHERE \(Self.condition(state)) ORDER BY id DESC LIMIT \(page.size) OFFSET \(page.offset)"
        ).map(OutboxMail.init)
    }

    func countMails(_ state: OutboxMail.State?) throws -> Int {
        try one("SELECT count(*) AS count FROM outbox WHERE \(Self.condition(state))")?.get("count") ?? 0
    }

    private static func condition(_ state: OutboxMail.State?) -> SQL {
        if let state { "state = \(state)" } else { "state <> 'void'" }
    }

    /// Mails of the development inbox, newest first.
    func inboxMails(
        to recipient: String?,
        _ template: MailTemplate?,
        after id: Identifier<OutboxMail>?,
        at now: Timestamp,
        limit: Int
    ) throws -> [OutboxMail] {
        var conditions: [SQL] = ["state = 'inbox'", "expires_at > \(now)"]
        if let recipient { conditions.append("lower(recipient) = \(recipient)") }
        if let template { conditions.append("template = \(template)") }
        if let id { conditions.append("id > \(id)") }
        return try all(
            "SELECT * FROM outbox WHERE \(SQL.join(conditions, by: " AND ")) ORDER BY created_at DESC, id DESC LIMIT \(limit)"
        ).map(OutboxMail.init)
    }

    /// Gives up what is over, and removes what nobody needs to see any more.
    func sweepMails(settledBefore: Timestamp, at now: Timestamp) throws {
        try execute(
            """
            UPDATE outbox SET state = 'expired', content = NULL, settled_at = \(now)
            WHERE state = 'pending' AND expires_at <= \(now)
            """
        )
        try execute(
            """
            DELETE FROM outbox WHERE state IN ('sent', 'failed', 'expired') AND settled_at < \(settledBefore)
                OR state = 'inbox' AND expires_at <= \(now) OR state = 'void'
            """
        )
    }
}

extension OutboxMail {
    init(_ row: Row) throws {
        self.init(
            id: try row.get("id"),
            state: try row.get("state"),
            template: try row.get("template"),
            collection: try row.get("collection"),
            userID: try row.get("user_id"),
            recipient: try row.get("recipient"),
            content: try row.get("content"),
            attempts: try row.get("attempts"),
            nextAttemptAt: try row.get("next_attempt_at"),
            lastError: try row.get("last_error"),
            createdAt: try row.get("created_at"),
            expiresAt: try row.get("expires_at"),
            settledAt: try row.get("settled_at")
        )
    }
}
