import HTTPTypes

/// Getting back into an account (seed 003).
struct RecoveryRoutes: Sendable {
    let recovery: Recovery
    let reset: PasswordReset

    var routes: [Route] {
        // Seed 003 doesn't say by which method.
        [HTTPRequest.Method.get, .post].map { method in
            Route(
                method,
                "/api/users/:id/recover",
                .open,
                "Mail a link that recovers an account, if there is one with this id, username or email",
                limit: .auth,
                needsMail: true,
                isPathPrivate: true,
                query: [.optional("collection", .text)],
                gives: .object([.required("sent", .flag)])
            ) { call in
                let name = call.query["collection"] ?? FirstCollections.usersName
                guard let collection = try await call.services.collections()[name] else {
                    throw AuthError(.notFound, "There is no such collection.")
                }
                try await recovery.request(call.parameter("id"), in: collection, from: call.client)
                return .data(["sent": true])
            }
        } + page.routes
    }

    private var page: LinkPage {
        LinkPage(
            template: .recover,
            purposes: PasswordReset.purposes,
            title: "Recover your account",
            lead:
                "Choose a new password for <strong>{{email}}</strong>. Every device that is signed in will be signed out.",
            button: "Set password",
            takesPassword: true,
            another: .here(
                lead: "We mail you a link with which you get back into your account.",
                label: "Your email address or username"
            ) { name, collection, client in
                try await recovery.request(name, in: collection, from: client)
            },
            use: { click in
                try await reset.confirm(click.token, click.password, in: click.collection, from: click.client)
                return .init(
                    title: "Your account is yours again",
                    text: "Sign in with the new password. You can close this page."
                )
            }
        )
    }
}
