import HTTPTypes

/// Creating the first admin.
struct SetUpRoutes: Sendable {
    let setUp: SetUp

    var routes: [Route] {
        [
            Route(.get, "/api/admin/setup/status", .open, "Whether there is an admin", gives: .object([.required("has_admin", .flag)])) { _ in
                .data(["has_admin": .bool(try await setUp.hasAdmin())])
            },
            Route(
                .post, "/api/admin/setup", .open, "Make the first admin with the token that the server printed",
                limit: .auth,
                takes: .object([.required("email", .text), .required("password", .text), .required("setup_token", .text)]), gives: .record
            ) { call in
                // Told before the body is judged, so that a second set-up doesn't argue about fields.
                guard try await !setUp.hasAdmin() else { throw AuthError(.alreadySetUp) }
                var fields = call.fields
                let email = fields.text("email", bytesMax: EmailAddress.bytesMax)
                let password = fields.secret("password")
                let token = fields.text("setup_token", bytesMax: 200)
                try fields.check()
                let admin = try await setUp.createFirstAdmin(email: email, password: password, token: token, from: call.client)
                return .data(admin.record(in: try await call.services.adminsCollection()))
            },
        ]
    }
}
