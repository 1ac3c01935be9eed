import HTTPTypes

/// Confirming a change of email; it is asked for by `PATCH /api/records/:col/:id`.
struct EmailChangeRoutes: Sendable {
    let emailChange: EmailChange

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/confirm-email-change",
                .open,
                "Take a new email into use by the token that was mailed to it",
                limit: .auth,
                takes: .object([.required("token", .text)]),
                gives: .object([.required("changed", .flag), .required("email", .text)])
            ) { call in
                var fields = call.fields
                let token = fields.text("token")
                try fields.check()
                let email = try await emailChange.confirm(token, in: call.collection(), from: call.client)
                return .data(["changed": true, "email": .string(email)])
            }
        ] + page.routes
    }

    private var page: LinkPage {
        LinkPage(
            template: .emailChange,
            purposes: [.emailChange],
            title: "Confirm your new email address",
            lead: "From now on you sign in with <strong>{{email}}</strong>, and mails go there.",
            button: "Use this address",
            another: .elsewhere("Sign in where you use your account, and change the address again."),
            use: { click in
                let email = try await emailChange.confirm(click.token, in: click.collection, from: click.client)
                return .init(title: "Your address is changed", text: "It is \(email) now. You can close this page.")
            }
        )
    }
}
