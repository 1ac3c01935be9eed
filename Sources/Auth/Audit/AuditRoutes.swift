import HTTPTypes

/// The audit log, for admins.
struct AuditRoutes: Sendable {
    let chain: AuditChain

    var routes: [Route] {
        [
            Route(
                .get,
                "/api/admin/audit",
                .admin,
                "Security events, the newest first",
                query: [
                    .optional("actor", .text), .optional("subject", .text), .optional("action", .text),
                    .optional("from", .time), .optional("to", .time),
                ] + Paging.members,
                gives: .list(.any)
            ) { call in
                var fields = call.queryFields
                let filter = fields.auditFilter()
                let page = try Paging(query: call.query)
                try fields.check()
                return try await chain.records(filter, page: page).answer(\.json)
            },
            Route(
                .get,
                "/api/admin/audit/checkpoint",
                .admin,
                "The newest linked row of the audit log, signed; keep it elsewhere",
                gives: .any
            ) { _ in .data(try await chain.checkpoint()?.json ?? .null) },
        ]
    }
}

extension Fields {
    fileprivate mutating func auditFilter() -> AuditFilter {
        AuditFilter(
            actor: userID("actor"),
            subject: userID("subject"),
            action: choice("action", of: AuditEvent.self),
            from: time("from"),
            to: time("to")
        )
    }

    private mutating func userID(_ key: String) -> UserID? {
        guard let text = optionalText(key) else { return nil }
        if UserID(rawValue: text) == nil { refuse(key, "must be an id") }
        return UserID(rawValue: text)
    }

    private mutating func time(_ key: String) -> Timestamp? {
        guard let text = optionalText(key) else { return nil }
        if Timestamp(parsing: text) == nil { refuse(key, "must be a time such as 2027-01-31T12:00:00Z") }
        return Timestamp(parsing: text)
    }
}
