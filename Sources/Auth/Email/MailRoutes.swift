import HTTPTypes

/// What admins see of the mails, and the development inbox.
struct MailRoutes: Sendable {
    let desk: MailDesk

    var routes: [Route] {
        [
            Route(
                .get,
                "/api/admin/outbox",
                .admin,
                "The mails and what became of them, newest first",
                query: Paging.members + [.optional("state", .text)],
                gives: .list(.any)
            ) { call in
                var query = call.queryFields
                let state = query.choice("state", of: OutboxMail.State.self)
                try query.check()
                return try await desk.outbox(state, page: Paging(query: call.query)).answer(\.json)
            },
            Route(
                .get,
                "/api/admin/inbox",
                .admin,
                "The mails of the development inbox, newest first",
                // They hold what opens accounts.
                isForPersons: true,
                query: Paging.members + Self.wanted,
                gives: .list(.any)
            ) { call in
                try await desk.inbox(try Self.wanted(call), page: Paging(query: call.query)).answer { $0 }
            },
            Route(
                .get,
                "/api/admin/inbox/wait",
                .admin,
                "The newest such mail of the development inbox, as soon as there is one",
                isForPersons: true,
                query: Self.wanted + [.optional("timeout", .integer)],
                gives: .object(
                    [.required("id", .text), .optional("link", .any), .optional("code", .any)],
                    others: .any
                )
            ) { call in
                let wanted = try Self.wanted(call)
                let text = call.query["timeout"] ?? String(MailDesk.waitSecondsDefault)
                guard let seconds = Int(text), (0...MailDesk.waitSecondsMax).contains(seconds) else {
                    throw AuthError.validation(["timeout": "must be a number from 0 to \(MailDesk.waitSecondsMax)"])
                }
                return .data(try await desk.wait(for: wanted, seconds: seconds))
            },
            Route(
                .post,
                "/api/admin/settings/smtp/test",
                .admin,
                "Send a mail now, to try the SMTP settings",
                takes: .object([.required("to", .text)]),
                gives: .object([.required("sent", .flag)])
            ) { call in
                var fields = call.fields
                let recipient = fields.email("to")
                try fields.check()
                if let recipient { try await desk.sendTest(to: recipient, by: call.actor) }
                return .data(["sent": true])
            },
        ]
    }

    private static let wanted: [Member] = [
        .optional("to", .text), .optional("template", .text), .optional("after", .text),
    ]

    private static func wanted(_ call: Call) throws -> MailDesk.Wanted {
        var query = call.queryFields
        var wanted = MailDesk.Wanted()
        if query.has("to") { wanted.recipient = query.email("to") }
        wanted.template = query.choice("template", of: MailTemplate.self)
        if let text = query.optionalText("after") {
            wanted.after = Identifier(rawValue: text)
            if wanted.after == nil { query.refuse("after", "must be the id of a mail") }
        }
        try query.check()
        return wanted
    }
}
