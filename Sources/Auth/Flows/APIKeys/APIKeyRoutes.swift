import HTTPTypes
import OrderedCollections

/// Reassigning an API key; keys are listed, added and removed like other secrets.
struct APIKeyRoutes: Sendable {
    let secrets: Secrets

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/users/:id/api_key",
                .selfOrAdmin,
                "Reassign the primary API key: a new one, and the former one is dead",
                limit: .auth,
                gives: .object([.required("api_key", .text)], others: .any)
            ) { call in
                let subject = try await secrets.subject(
                    call.parameter("id"),
                    call.principal(),
                    factor: call.factor,
                    from: call.client
                )
                let new = try await secrets.reassign(subject)
                return .data(new.key.json(at: call.time).merging(["api_key": .string(new.text.reveal())]))
            }
        ]
    }
}
