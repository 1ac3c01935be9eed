import HTTPTypes
import Storage

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
                query: RequestLog.searchable.map { .optional($0, .text) } + Paging.members,
                gives: .list(.any)
            ) { call in
                let wanted = call.query.filter { key, _ in RequestLog.searchable.contains(key) }
                let page = try Paging(query: call.query)
                return try call.services.page(page, of: log.recent(with: wanted), named: "logs", isDescending: true) {
                    [.text($0["time"]?.text ?? ""), .text($0["request_id"]?.text ?? "")]
                }.answer { $0 }
            }
        ]
    }
}
