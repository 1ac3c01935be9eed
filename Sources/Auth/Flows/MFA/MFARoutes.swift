import HTTPTypes

/// Second factors and recovery codes.
struct MFARoutes: Sendable {
    let factors: SecondFactors
    let reauthentication: Reauthentication

    var routes: [Route] { signIn + own + [reset] }

    private static let factor: [Member] = [.optional("code", .text), .optional("recovery_code", .text)]

    private var signIn: [Route] {
        let body = Shape.object([.required("mfa_token", .text)] + Self.factor)
        return [
            Route(
                .post,
                "/api/auth/:col/login/mfa",
                .open,
                "Finish a login by a second factor",
                limit: .auth,
                takes: body,
                gives: SignIn.shape
            ) { call in try await finish(call, in: try call.collection()) },
            Route(
                .post,
                "/api/admin/auth/login/mfa",
                .open,
                "Finish an admin's login by a second factor",
                limit: .auth,
                takes: body,
                gives: SignIn.shape
            ) { call in try await finish(call, in: try await call.services.adminsCollection()) },
        ]
    }

    private var own: [Route] {
        let codes = Member.required("codes", .list(.text))
        return [
            Route(
                .post,
                "/api/auth/:col/totp/setup",
                .member,
                "A key for one's authenticator; it counts once confirmed",
                limit: .auth,
                feature: .mfa,
                isForEnrolment: true,
                gives: .object([
                    .required("secret", .text), .required("otpauth_url", .text), .required("qr_svg", .text),
                ])
            ) { call in
                // Or a stolen session could lock its owner out.
                try await reauthentication.check(call.principal(), factor: nil, from: call.client)
                let setUp = try await factors.setUp(call.principal(), from: call.client)
                return .data([
                    "secret": .string(setUp.secret.reveal()), "otpauth_url": .string(setUp.url.reveal()),
                    "qr_svg": .string(setUp.picture.reveal()),
                ])
            },
            Route(
                .post,
                "/api/auth/:col/totp/confirm",
                .member,
                "Turn the second factor on by its first code; gives the recovery codes, once",
                limit: .auth,
                feature: .mfa,
                isForEnrolment: true,
                takes: .object([.required("code", .text)]),
                gives: .object([.required("enabled", .flag), codes])
            ) { call in
                var fields = call.fields
                let code = fields.code("code")
                try fields.check()
                guard let code else { return .data(.null) }
                let made = try await factors.confirm(code, by: call.principal(), from: call.client)
                return .data(["enabled": true, "codes": Self.json(made)])
            },
            Route(
                .post,
                "/api/auth/:col/totp/disable",
                .member,
                "Turn the second factor off; the recovery codes go",
                limit: .auth,
                takes: .object(Self.factor),
                gives: .object([.required("enabled", .flag)])
            ) { call in
                var fields = call.fields
                let factor = fields.factor()
                try fields.check()
                try await factors.disable(factor ?? .unreadable, by: call.principal(), from: call.client)
                return .data(["enabled": false])
            },
            Route(
                .post,
                "/api/auth/:col/totp/recovery/regenerate",
                .member,
                "New recovery codes, once; the former ones die",
                limit: .auth,
                feature: .mfa,
                takes: .object(Self.factor),
                gives: .object([codes])
            ) { call in
                var fields = call.fields
                let factor = fields.factor(isRequired: false)
                try fields.check()
                let made = try await factors.regenerateCodes(factor, by: call.principal(), from: call.client)
                return .data(["codes": Self.json(made)])
            },
            Route(
                .get,
                "/api/auth/:col/totp/recovery/status",
                .member,
                "How many recovery codes one has left",
                gives: .object([.required("total", .integer), .required("remaining", .integer)])
            ) { call in
                let count = try await factors.countCodes(of: call.principal())
                return .data(["total": .integer(Int64(count.total)), "remaining": .integer(Int64(count.unused))])
            },
        ]
    }

    private var reset: Route {
        Route(
            .post,
            "/api/admin/users/:col/:id/disable-mfa",
            .admin,
            "Remove a user's second factor",
            gives: .object([.required("disabled", .flag)])
        ) { call in
            if try call.collection().isAdmins {
                try await reauthentication.check(call.principal(), factor: call.factor, from: call.client)
            }
            try await factors.reset(call.userID(), in: call.collection(), by: call.actor)
            return .data(["disabled": true])
        }
    }

    private func finish(_ call: Call, in collection: Collection) async throws -> Answer {
        var fields = call.fields
        let ticket = fields.text("mfa_token")
        let factor = fields.factor()
        try fields.check()
        return .data(
            try await factors.signIn(ticket, factor ?? .unreadable, in: collection, from: call.client).json
        )
    }

    private static func json(_ codes: [RecoveryCode]) -> JSON {
        .array(codes.map { .string($0.text.reveal()) })
    }
}

extension Fields {
    /// Six digits that must be there; nil when they aren't, and then ``check()`` throws.
    mutating func code(_ key: String) -> OneTimeCode? {
        let text = text(key, bytesMax: 32)
        guard !text.isEmpty else { return nil }
        let code = OneTimeCode(parsing: text)
        if code == nil { refuse(key, "must be \(OneTimeCode.digitCount) digits") }
        return code
    }

    /// Exactly one of `code` and `recovery_code`, or none where none is needed.
    ///
    /// A text that can't be one is no mistake of the form: it is refused like a wrong one.
    mutating func factor(isRequired: Bool = true) -> SecondFactors.Factor? {
        switch (optionalText("code"), optionalText("recovery_code")) {
        case (nil, nil):
            if isRequired && problems.isEmpty { refuse("code", "is required (or recovery_code)") }
            return nil
        case (.some, .some):
            refuse("code", "can't go with a recovery_code")
            return nil
        case (let code?, nil): return OneTimeCode(parsing: code).map { .code($0) } ?? .unreadable
        case (nil, let code?): return RecoveryCode(parsing: code).map { .recoveryCode($0) } ?? .unreadable
        }
    }
}
