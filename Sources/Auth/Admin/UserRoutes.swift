import HTTPTypes
import OrderedCollections

/// Accounts as admins manage them: `/api/admin/users/:col`, and `/api/admin/admins` for the admins themselves.
struct UserRoutes: Sendable {
    let accounts: Accounts
    let reauthentication: Reauthentication

    var routes: [Route] {
        let users = routes(at: "/api/admin/users/:col", "account") { call in try call.collection() }
        let admins = routes(at: "/api/admin/admins", "admin") { call in try await call.services.adminsCollection() }
        return users + admins
    }

    private typealias Lookup = @Sendable (Call) async throws -> Collection

    private func routes(at path: String, _ noun: String, in collection: @escaping Lookup) -> [Route] {
        [
            Route(
                .get,
                path,
                .admin,
                "The \(noun)s, oldest first",
                query: Paging.members + [.optional("filter", .text)],
                gives: .list(.record)
            ) { call in
                let collection = try await collection(call)
                let filter = try RecordFilter(parsing: call.query["filter"])
                let page = try await accounts.list(in: collection, filter: filter, page: Paging(query: call.query))
                return page.answer { $0.record(in: collection) }
            },
            Route(.post, path, .admin, "Make an \(noun)", takes: Self.body, gives: .record) { call in
                try await create(call, in: try await collection(call))
            },
            Route(.patch, path + "/:id", .admin, "Change an \(noun)", takes: Self.body, gives: .record) { call in
                try await change(call, in: try await collection(call))
            },
            Route(.delete, path + "/:id", .admin, "Remove an \(noun)", gives: .object([.required("deleted", .flag)])) {
                call in
                let collection = try await collection(call)
                try await checkProved(call, collection)
                try await accounts.delete(call.userID(), in: collection, by: call.actor)
                return .data(["deleted": true])
            },
        ]
    }

    private static let body = Shape.object(
        [
            .optional("email", .text), .optional("password", .text), .optional("username", .text),
            .optional("kind", .text),
            .optional("status", .text), .optional("email_verified", .flag),
        ],
        others: .any
    )
    private static let handled: Set<String> = ["password", "kind", "status", "email_verified"]

    private func create(_ call: Call, in collection: Collection) async throws -> Answer {
        var fields = call.fields
        let kind = fields.choice("kind", of: User.Kind.self) ?? .human
        let status = fields.choice("status", of: User.Status.self) ?? .active
        let isVerified = fields.optionalFlag("email_verified") ?? false
        if collection.isAdmins && kind == .system { fields.refuse("kind", "must be human: admins are people") }
        try fields.check()
        try await checkProved(call, collection)
        let new = Accounts.NewAccount(kind: kind, status: status, isEmailVerified: isVerified, handled: Self.handled)
        return .data(try await accounts.create(new, call.body, in: collection, by: call.actor).record(in: collection))
    }

    private func change(_ call: Call, in collection: Collection) async throws -> Answer {
        let id = try call.userID()
        _ = try await accounts.find(id, in: collection)
        var fields = call.fields
        let change = Accounts.AdminChange(
            status: fields.choice("status", of: User.Status.self),
            isEmailVerified: fields.optionalFlag("email_verified"),
            password: call.body["password"] == nil ? nil : fields.secret("password")
        )
        if call.body["kind"] != nil { fields.refuse("kind", "can't be changed") }
        try fields.check()
        let input = try RecordInput(call.body, for: .change, in: collection, handled: Self.handled)
        try await checkProved(call, collection)
        return .data(
            try await accounts.change(id, in: collection, to: input, change, by: call.actor).record(in: collection)
        )
    }

    /// What changes who is an admin needs a fresh proof: otherwise a stolen session could make itself another admin.
    private func checkProved(_ call: Call, _ collection: Collection) async throws {
        guard collection.isAdmins else { return }
        try await reauthentication.check(call.principal(), factor: call.factor, from: call.client)
    }
}
