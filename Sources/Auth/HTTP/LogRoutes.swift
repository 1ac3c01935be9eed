import HTTPTypes

/// The request log of this node, for admins.
struct LogRoutes: Sendable {
    let log: RequestLog

    var routes: [Route] {
        [
            Route(
                .get,
                "/api/admin/logs",
                .admin,
                "The last requests to this node, the newest first",
                query: RequestLog.searchable.map { .optional($0, .text) } + [
                    .optional("page", .integer), .optional("perPage", .integer),
                ],
                gives: .list(.any)
            ) { call in
                let wanted = call.query.filter { key, _ in RequestLog.searchable.contains(key) }
                return log.recent(with: wanted, page: try Paging(query: call.query)).answer { $0 }
            }
        ]
    }
}
