import HTTPTypes

/// Signing in by a code or link that was mailed.
struct OneTimeCodeRoutes: Sendable {
    let codes: OneTimeCodes

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/otp/request",
                .open,
                "Mail a code and a link to sign in with, if there is such an account",
                limit: .auth,
                feature: .otp,
                needsMail: true,
                takes: .object([.required("email", .text)]),
                gives: .object([.required("sent", .flag)])
            ) { call in
                var fields = call.fields
                let email = fields.email("email")
                try fields.check()
                if let email { try await codes.request(email, in: call.collection(), from: call.client) }
                return .data(["sent": true])
            },
            Route(
                .post,
                "/api/auth/:col/otp/auth",
                .open,
                "Log in by a mailed token, or by email and code",
                limit: .auth,
                feature: .otp,
                takes: .object(
                    [.optional("token", .text), .optional("email", .text), .optional("code", .text)]
                        + TokenWish.members
                ),
                gives: SignIn.shape,
                use: logIn
            ),
        ] + page.routes
    }

    @Sendable private func logIn(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let wish = fields.tokenWish()
        let collection = try call.collection()
        if fields.has("token") {
            let token = fields.text("token")
            for key in ["email", "code"] where fields.has(key) { fields.refuse(key, "can't go with a token") }
            try fields.check()
            return .data(try await codes.signIn(token: token, in: collection, from: call.client, as: wish).json)
        }
        let email = fields.email("email")
        let text = fields.text("code", bytesMax: 32)
        try fields.check()
        guard let email, let code = OneTimeCode(parsing: text) else {
            throw AuthError.validation(["code": "must be \(OneTimeCode.digitCount) digits"])
        }
        return .data(try await codes.signIn(email, code: code, in: collection, from: call.client, as: wish).json)
    }

    private var page: LinkPage {
        LinkPage(
            template: .otp,
            purposes: [.otp],
            feature: .otp,
            title: "Sign in",
            lead: "Sign in as <strong>{{email}}</strong>.",
            button: "Sign in",
            another: .here(
                lead: "We mail you a link that signs you in.",
                label: "Your email address"
            ) { email, collection, client in
                guard let email = EmailAddress(parsing: email) else {
                    throw AuthError.validation(["email": "must be a valid email address"])
                }
                try await codes.request(email, in: collection, from: client)
            },
            use: { click in
                let outcome = try await codes.signIn(token: click.token, in: click.collection, from: click.client)
                guard case .signedIn(let signIn) = outcome else {
                    return .init(
                        title: "A second factor is needed",
                        text:
                            "This account asks for a code of its authenticator, which this page can't take. Sign in where you use it."
                    )
                }
                return .init(
                    title: "You are signed in",
                    text: "An application's own page would go on from here, with this token.",
                    token: signIn.token
                )
            }
        )
    }
}
