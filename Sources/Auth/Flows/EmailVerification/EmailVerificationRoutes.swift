import HTTPTypes

/// Showing that an email is one's own.
struct EmailVerificationRoutes: Sendable {
    let verification: EmailVerification

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/request-verify",
                .member,
                "Mail a link that verifies one's email",
                limit: .auth,
                needsMail: true,
                gives: .object([.required("sent", .flag), .optional("already_verified", .flag)])
            ) { call in
                let isSent = try await verification.request(call.principal(), from: call.client)
                return .data(isSent ? ["sent": true] : ["sent": false, "already_verified": true])
            },
            Route(
                .post,
                "/api/auth/:col/verify-email",
                .open,
                "Verify an email by the token that was mailed to it",
                limit: .auth,
                takes: .object([.required("token", .text)]),
                gives: .object([.required("verified", .flag)])
            ) { call in
                var fields = call.fields
                let token = fields.text("token")
                try fields.check()
                try await verification.verify(token, in: call.collection(), from: call.client)
                return .data(["verified": true])
            },
        ] + page.routes
    }

    private var page: LinkPage {
        LinkPage(
            template: .verify,
            purposes: [.verify],
            title: "Confirm your email address",
            lead: "Confirm that you read mail at <strong>{{email}}</strong>.",
            button: "Confirm my address",
            another: .elsewhere("Sign in where you use your account, and ask for another mail."),
            use: { click in
                try await verification.verify(click.token, in: click.collection, from: click.client)
                return .init(title: "Your address is confirmed", text: "You can close this page.")
            }
        )
    }
}
