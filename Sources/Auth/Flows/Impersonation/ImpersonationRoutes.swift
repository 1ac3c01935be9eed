import HTTPTypes
import OrderedCollections

/// Acting as a user, for support.
struct ImpersonationRoutes: Sendable {
    static let reasonBytesMax = 500
    let impersonation: Impersonation

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/admin/impersonate/:col/:id",
                .admin,
                "A token of a user's for an hour, for support",
                limit: .auth,
                feature: .impersonation,
                isForPersons: true,
                takes: .object([.optional("reason", .text)]),
                isBodyOptional: true,
                gives: SignIn.shape
            ) { call in
                var fields = call.fields
                let reason = fields.optionalText("reason", bytesMax: Self.reasonBytesMax)
                try fields.check()
                let admin = try call.principal()
                let signIn = try await impersonation.begin(
                    as: call.userID(),
                    in: call.collection(),
                    because: reason,
                    by: admin,
                    from: call.client
                )
                return .data(signIn.json.merging(["impersonated_by": .string(admin.user.id.rawValue)]))
            }
        ]
    }
}
