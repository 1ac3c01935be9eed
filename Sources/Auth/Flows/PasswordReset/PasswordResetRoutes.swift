import HTTPTypes

/// Setting a forgotten password by a link that was mailed.
struct PasswordResetRoutes: Sendable {
    let reset: PasswordReset

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/request-password-reset",
                .open,
                "Mail a link that sets a new password, if there is such an account",
                limit: .auth,
                needsMail: true,
                takes: .object([.required("email", .text)]),
                gives: .object([.required("sent", .flag)])
            ) { call in
                var fields = call.fields
                let email = fields.email("email")
                try fields.check()
                if let email { try await reset.request(email, in: call.collection(), from: call.client) }
                return .data(["sent": true])
            },
            Route(
                .post,
                "/api/auth/:col/confirm-password-reset",
                .open,
                "Set a new password by the token that was mailed; every session ends",
                limit: .auth,
                isHashing: true,
                takes: .object([.required("token", .text), .required("password", .text)]),
                gives: .object([.required("reset", .flag)])
            ) { call in
                var fields = call.fields
                let token = fields.text("token")
                let password = fields.secret("password")
                try fields.check()
                try await reset.confirm(token, password, in: call.collection(), from: call.client)
                return .data(["reset": true])
            },
        ] + page.routes
    }

    private var page: LinkPage {
        LinkPage(
            template: .reset,
            purposes: PasswordReset.purposes,
            title: "Set a new password",
            lead:
                "Choose a new password for <strong>{{email}}</strong>. Every device that is signed in will be signed out.",
            button: "Set password",
            takesPassword: true,
            another: .here(
                lead: "We mail you a link that sets a new password.",
                label: "Your email address"
            ) { email, collection, client in
                guard let email = EmailAddress(parsing: email) else {
                    throw AuthError.validation(["email": "must be a valid email address"])
                }
                try await reset.request(email, in: collection, from: client)
            },
            use: { click in
                try await reset.confirm(click.token, click.password, in: click.collection, from: click.client)
                return .init(title: "Your password is set", text: "Sign in with it. You can close this page.")
            }
        )
    }
}

extension Fields {
    /// An email address that must be there; nil when it isn't one, and then ``check()`` throws.
    mutating func email(_ key: String) -> EmailAddress? {
        let text = text(key, bytesMax: EmailAddress.bytesMax)
        guard !text.isEmpty else { return nil }
        let email = EmailAddress(parsing: text)
        if email == nil { refuse(key, "must be a valid email address") }
        return email
    }
}
