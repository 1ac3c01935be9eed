import HTTPTypes

/// Registration, and the records of accounts.
struct RecordRoutes: Sendable {
    let accounts: Accounts
    let reauthentication: Reauthentication

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/register",
                .open,
                "Make an account",
                limit: .auth,
                isHashing: true,
                takes: .object(
                    [.required("email", .text), .required("password", .text), .optional("username", .text)],
                    others: .any
                ),
                gives: .record
            ) { call in
                let collection = try call.collection()
                return .data(
                    try await accounts.register(call.body, in: collection, from: call.client).record(in: collection)
                )
            },
            Route(
                .get,
                "/api/records/:col",
                .admin,
                "The records of a collection, oldest first",
                query: Paging.members + [.optional("filter", .text)],
                gives: .list(.record)
            ) { call in
                let collection = try call.collection()
                let filter = try RecordFilter(parsing: call.query["filter"])
                let page = try await accounts.list(in: collection, filter: filter, page: Paging(query: call.query))
                return page.answer { $0.record(in: collection) }
            },
            Route(.get, "/api/records/:col/:id", .ownerOrAdmin, "A record", gives: .record) { call in
                let collection = try call.collection()
                return .data(try await accounts.find(call.userID(), in: collection).record(in: collection))
            },
            Route(
                .patch,
                "/api/records/:col/:id",
                .ownerOrAdmin,
                "Change a record",
                isForImpersonation: true,
                takes: .object([], others: .any),
                gives: .record,
                use: change
            ),
            Route(
                .delete,
                "/api/records/:col/:id",
                .ownerOrAdmin,
                "Remove an account",
                gives: .object([.required("deleted", .flag)])
            ) { call in
                let id = try call.userID()
                if try call.actor.id == id || call.collection().isAdmins {
                    let principal = try call.principal()
                    try await reauthentication.check(principal, factor: call.factor, from: call.client)
                }
                try await accounts.delete(id, in: call.collection(), by: call.actor)
                return .data(["deleted": true])
            },
        ]
    }

    @Sendable private func change(_ call: Call) async throws -> Answer {
        let collection = try call.collection()
        let id = try call.userID()
        // Which accounts there are is no secret to their owner or an admin; an unknown one is 404 before its body is
        // looked at.
        let stored = try await accounts.find(id, in: collection)
        let input = try RecordInput(call.body, for: .change, in: collection)
        let isOwner = call.actor.id == id
        if isOwner || collection.isAdmins, let email = input.email, email.text != stored.email {
            try await reauthentication.check(call.principal(), factor: call.factor, from: call.client)
        }
        if isOwner, let username = input.username, username?.text != stored.username {
            // One signs in by it: a program or a helping admin doesn't change it.
            let principal = try call.principal()
            _ = try principal.signedInSession()
            guard principal.impersonator == nil else {
                throw AuthError(.forbidden, "An admin who acts as somebody else can't do this.")
            }
        }
        let user = try await accounts.change(id, in: collection, to: input, confirmingEmail: isOwner, by: call.actor)
        return .data(user.record(in: collection))
    }
}
