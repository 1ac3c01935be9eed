import HTTPTypes

/// Signing in as a trusted device.
struct DeviceRoutes: Sendable {
    let devices: Devices

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/login/device",
                .open,
                "Log in by the secret of a trusted device",
                limit: .auth,
                isHashing: true,
                takes: .object(
                    [
                        .required("secret", .text), .optional("identity", .text), .optional("email", .text),
                        .optional("username", .text),
                    ] + TokenWish.members
                ),
                gives: SignIn.shape
            ) { call in
                var fields = call.fields
                let secret = fields.secret("secret")
                let name = fields.signInName()
                let wish = fields.tokenWish()
                try fields.check()
                let outcome = try await devices.signIn(
                    name,
                    secret,
                    in: call.collection(),
                    from: call.client,
                    as: wish
                )
                return .data(outcome.json)
            }
        ]
    }
}
