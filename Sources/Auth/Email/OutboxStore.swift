import Storage

extension Transaction {
    func insertMail(_ mail: OutboxMail) throws {
        announce(Topic.outbox)
        try execute(
            """
            INSERT INTO outbox
                (id, state, template, collection, user_id, recipient, content, attempts, refusals, next_attempt_at, created_at, expires_at)
            VALUES (\(mail.id), \(mail.state), \(mail.template), \(mail.collection), \(mail.userID), \(mail.recipient),
                \(mail.content), 0, 0, \(mail.nextAttemptAt), \(mail.createdAt), \(mail.expiresAt))
            """
        )
    }

    /// The account with a name, if it may be mailed as ``User/addressee(at:)`` has it, and how many mails of a kind it
    /// got since then.
    ///
    /// One statement and one row, whether or not there is such an account: the work is the same. `nobody` is an id that
    /// no account has.
    func addressee(
        _ name: AccountName,
        in collection: CollectionID,
        orCountFor nobody: UserID,
        of template: MailTemplate,
        since time: Timestamp
    ) throws -> (Addressee?, count: Int) {
        let row = try one(
            """
            SELECT found.id AS id, found.email AS email,
                (SELECT count(*) FROM outbox WHERE user_id = coalesce(found.id, \(nobody)) AND created_at > \(time)
                    AND template = \(template)) AS count
            FROM (SELECT coalesce(
                (SELECT id FROM users WHERE id = \(name.id) AND collection_id = \(collection)),
                (SELECT id FROM users WHERE collection_id = \(collection) AND email_folded = \(name.emailFolded)),
                (SELECT id FROM users WHERE collection_id = \(collection) AND username_folded = \(name.usernameFolded)),
                \(nobody)) AS id) AS named
            LEFT JOIN users AS found ON found.id = named.id AND found.kind = 'human' AND found.status = 'active'
                AND found.anonymous = \(false) AND found.email IS NOT NULL
            """
        )
        guard let row else { return (nil, 0) }
        let id = try row.get("id", as: UserID?.self)
        let email = try row.get("email", as: String?.self)
        return (id.map { Addressee(id: $0, email: email ?? "") }, try row.get("count"))
    }

    /// Whether an account is still the one to mail.
    func isAddressee(_ addressee: Addressee) throws -> Bool {
        // One row for whomever: the same work.
        let row = try one(
            """
            SELECT (SELECT email FROM users WHERE id = \(addressee.id) AND kind = 'human' AND status = 'active'
                AND anonymous = \(false)
                AND collection_id IN (SELECT id FROM collections WHERE state <> 'deleting')) AS email
            """
        )
        return try row?.get("email", as: String?.self) == addressee.email
    }

    /// How many mails of a kind an account got since then.
    func countMails(of template: MailTemplate, to user: UserID, since time: Timestamp) throws -> Int {
        try one(
            """
            SELECT count(*) AS count FROM outbox
            WHERE user_id = \(user) AND created_at > \(time) AND template = \(template)
            """
        )?.get("count") ?? 0
    }

    /// Counts a notice to an account; false, and nothing is counted, when it had as many in a span that began after `time`.
    func countNotice(to user: UserID, max: Int, since time: Timestamp, at now: Timestamp) throws -> Bool {
        try execute(
            """
            UPDATE users SET
                notice_count = CASE WHEN notices_since > \(time) THEN notice_count + 1 ELSE 1 END,
                notices_since = CASE WHEN notices_since > \(time) THEN notices_since ELSE \(now) END
            WHERE id = \(user) AND (notices_since IS NULL OR notices_since <= \(time) OR notice_count < \(max))
            """
        ) == 1
    }

    /// Those that wait longest for a try, if any is due.
    ///
    /// Mails to nobody are in the index too, so that storing one is the same work.
    func dueMails(at now: Timestamp, limit: Int) throws -> [OutboxMail] {
        try all(
            """
            SELECT * FROM outbox
            WHERE state IN ('pending', 'sending', 'void') AND state <> 'void' AND next_attempt_at <= \(now)
            ORDER BY next_attempt_at, id LIMIT \(limit)
            """
        ).map(OutboxMail.init)
    }

    /// Reserves a try for one deliverer until then, and gives the mail as it is then; nil when another was faster.
    func claimMail(_ mail: OutboxMail, until time: Timestamp) throws -> OutboxMail? {
        try one(
            """
            UPDATE outbox SET state = 'sending', attempts = attempts + 1, next_attempt_at = \(time)
            WHERE id = \(mail.id) AND state = \(mail.state) AND attempts = \(mail.attempts)
            RETURNING *
            """
        ).map(OutboxMail.init)
    }

    /// Ends a mail's wait and erases what it said; nothing when it was taken up by another since.
    func settleMail(_ mail: OutboxMail, as state: OutboxMail.State, error: String?, at now: Timestamp) throws {
        try execute(
            """
            UPDATE outbox SET state = \(state), content = NULL, last_error = \(error), settled_at = \(now)
            WHERE id = \(mail.id) AND state = \(mail.state) AND attempts = \(mail.attempts)
            """
        )
    }

    /// Lets a claimed mail wait; nothing when it was taken up by another since.
    func postponeMail(_ mail: OutboxMail, refusals: Int, until time: Timestamp, error: String) throws {
        try execute(
            """
            UPDATE outbox SET state = 'pending', refusals = \(refusals), next_attempt_at = \(time), last_error = \(error)
            WHERE id = \(mail.id) AND state = 'sending' AND attempts = \(mail.attempts)
            """
        )
    }

    /// After the way out has changed: what waits, and is not on its way, is tried at once.
    ///
    /// With a transport the development inbox is over.
    func redirectMails(isTransportSet: Bool, at now: Timestamp) throws {
        announce(Topic.outbox)
        try execute("UPDATE outbox SET next_attempt_at = \(now) WHERE state = 'pending'")
        if isTransportSet { try execute("DELETE FROM outbox WHERE state = 'inbox'") }
    }

    /// Mails of the development inbox, newest first.
    func inboxMails(
        _ template: MailTemplate?,
        after id: Identifier<OutboxMail>?,
        at now: Timestamp,
        limit: Int
    ) throws -> [OutboxMail] {
        var conditions: [SQL] = ["state = 'inbox'", "expires_at > \(now)"]
        if let template { conditions.append("template = \(template)") }
        if let id { conditions.append("id > \(id)") }
        return try all(
            "SELECT * FROM outbox WHERE \(SQL.join(conditions, by: " AND ")) ORDER BY created_at DESC, id DESC LIMIT \(limit)"
        ).map(OutboxMail.init)
    }

    /// Gives up mails that are over and were never sent, up to `count`, and tells how many.
    func expireMails(at now: Timestamp, count: Int) throws -> Int {
        try execute(
            """
            UPDATE outbox SET state = 'expired', content = NULL, settled_at = \(now) WHERE id IN (
                SELECT id FROM outbox
                WHERE state IN ('pending', 'sending', 'void') AND state <> 'void' AND expires_at <= \(now)
                    AND next_attempt_at <= \(now)
                ORDER BY next_attempt_at LIMIT \(count)
            )
            """
        )
    }

    /// Removes mails that were sent or given up before `time`, up to `count`, and tells how many.
    func sweepSettledMails(before time: Timestamp, count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM outbox WHERE id IN (
                SELECT id FROM outbox WHERE settled_at IS NOT NULL AND settled_at < \(time)
                ORDER BY settled_at LIMIT \(count)
            )
            """
        )
    }

    /// Removes mails of the development inbox that are over, up to `count`, and tells how many.
    func sweepInboxMails(at now: Timestamp, count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM outbox WHERE id IN (
                SELECT id FROM outbox WHERE state = 'inbox' AND expires_at <= \(now) ORDER BY expires_at LIMIT \(count)
            )
            """
        )
    }

    /// Removes mails to nobody, up to `count`, and tells how many.
    func sweepVoidMails(count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM outbox WHERE id IN (
                SELECT id FROM outbox WHERE state IN ('pending', 'sending', 'void') AND state = 'void' LIMIT \(count)
            )
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
            refusals: try row.get("refusals"),
            nextAttemptAt: try row.get("next_attempt_at"),
            lastError: try row.get("last_error"),
            createdAt: try row.get("created_at"),
            expiresAt: try row.get("expires_at"),
            settledAt: try row.get("settled_at")
        )
    }
}
