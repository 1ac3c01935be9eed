import HTTPTypes
import Storage

/// The routes at `/api/collections`, where `:id` is a collection's id or name.
struct CollectionRoutes: Sendable {
    let collections: Collections

    var routes: [Route] {
        [
            Route(
                .get,
                "/api/collections",
                .admin,
                "The collections, by name",
                query: Paging.members,
                gives: .list(.any)
            ) { call in
                let all = try await call.services.collections().all
                return try call.services.page(Paging(query: call.query), of: all, named: "collections") { collection in
                    [.text(collection.name)]
                }.answer(\.json)
            },
            Route(.post, "/api/collections", .admin, "Make a collection", takes: Self.body, gives: .any) { call in
                .data(try await collections.create(call.body, by: call.actor).json)
            },
            Route(.get, "/api/collections/:id", .admin, "A collection", gives: .any) { call in
                .data(try await collections.find(call.parameter("id")).json)
            },
            Route(.patch, "/api/collections/:id", .admin, "Change a collection", takes: Self.change, gives: .any) {
                call in
                .data(try await collections.change(call.parameter("id"), to: call.body, by: call.actor).json)
            },
            Route(
                .delete,
                "/api/collections/:id",
                .admin,
                "Remove a collection with all its accounts",
                isForPersons: true,
                gives: .object([.required("deleted", .flag)])
            ) { call in
                try await collections.delete(call.parameter("id"), by: call.actor)
                return .data(["deleted": true])
            },
        ]
    }

    private static let body = Shape.object([
        .required("name", .text), .optional("type", .text), .optional("fields", .list(.any)),
        .optional("options", .map(.flag)),
    ])
    private static let change = Shape.object([
        .optional("name", .text), .optional("type", .text), .optional("fields", .list(.any)),
        .optional("options", .map(.flag)),
    ])
}
