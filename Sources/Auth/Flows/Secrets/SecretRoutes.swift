import HTTPTypes
import OrderedCollections

/// A user's secrets (seed 003).
struct SecretRoutes: Sendable {
    let secrets: Secrets

    var routes: [Route] { reading + adding + replacing + [removal] }

    private static let path = "/api/users/:id/secrets"
    private static let secret = Shape.object(
        [
            .required("id", .text), .required("type", .text), .required("name", .text), .required("created_at", .time),
            .required("last_used_at", .time), .required("expires_at", .time), .required("state", .text),
        ],
        others: .any
    )

    private var reading: [Route] {
        [
            Route(
                .get,
                Self.path,
                .selfOrAdmin,
                "A user's secrets, never their values",
                query: Paging.members,
                gives: .list(Self.secret)
            ) { call in
                try await secrets.list(of: subject(call), page: Paging(query: call.query)).answer {
                    $0.json(at: call.time)
                }
            },
            Route(.get, Self.path + "/:sid", .selfOrAdmin, "One secret, never its value", gives: Self.secret) { call in
                let secret = try await secrets.find(call.parameter("sid"), of: subject(call))
                return .data(secret.json(at: call.time))
            },
        ]
    }

    private var adding: [Route] {
        [
            Route(
                .post,
                Self.path,
                .selfOrAdmin,
                "Add a password, an API key, a device or a second factor",
                limit: .auth,
                isForEnrolment: true,
                takes: .object([
                    .required("type", .text), .optional("secret", .text), .optional("name", .text),
                    .optional("expires_at", .time), .optional("scopes", .list(.text)),
                ]),
                gives: Self.secret,
                use: add
            )
        ]
            + [HTTPRequest.Method.put, .post].map { method in
                // Seed 003 doesn't say by which method.
                Route(
                    method,
                    Self.path + "/:sid/enroll",
                    .selfOrAdmin,
                    "Confirm a second factor by its first code; gives the recovery codes, once",
                    limit: .auth,
                    feature: .mfa,
                    isForEnrolment: true,
                    takes: .object([.optional("code", .text), .optional("token", .text)]),
                    gives: Self.secret,
                    use: enroll
                )
            }
    }

    private var replacing: [Route] {
        [
            Route(
                .put,
                Self.path + "/password",
                .selfOrAdmin,
                "Replace a password; its owner's sessions end",
                limit: .auth,
                takes: .object([
                    .optional("current_password", .text), .optional("password", .text), .optional("secret", .text),
                ]),
                gives: Self.secret,
                use: replacePassword
            )
        ]
    }

    private var removal: Route {
        Route(
            .delete,
            Self.path + "/:sid",
            .selfOrAdmin,
            "Remove a secret; what it opened is closed at once",
            gives: .object([.required("deleted", .flag)])
        ) { call in
            try await secrets.remove(call.parameter("sid"), of: subject(call))
            return .data(["deleted": true])
        }
    }

    private func subject(_ call: Call) async throws -> Secrets.Subject {
        try await secrets.subject(call.parameter("id"), call.principal(), factor: call.factor, from: call.client)
    }

    @Sendable private func add(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let type = fields.choice("type", of: NewSecret.self)
        if type == nil && fields.problems.isEmpty { fields.refuse("type", "is required") }
        let isOwed = try call.principal().mustEnrol(try await call.services.settings())
        if let type, isOwed, type != .mfa { throw AuthError(.mfaEnrolmentRequired) }
        switch type {
        case .password: return try await addPassword(call, &fields)
        case .apikey: return try await addAPIKey(call, &fields)
        case .device: return try await addDevice(call, &fields)
        case .mfa:
            let setUp = try await secrets.addFactor(to: subject(call))
            return .data([
                "id": .string(setUp.id.rawValue), "type": "mfa", "state": "pending",
                "secret": .string(setUp.secret.reveal()), "otpauth_url": .string(setUp.url.reveal()),
                "qr_svg": .string(setUp.picture.reveal()),
            ])
        case nil:
            try fields.check()
            return .data(.null)
        }
    }

    /// What can be added; recovery codes come with a second factor.
    private enum NewSecret: String, CaseIterable {
        case password, apikey, device, mfa
    }

    private func addPassword(_ call: Call, _ fields: inout Fields) async throws -> Answer {
        let text = fields.secret("secret")
        try fields.check()
        return .data(
            try await secrets.addPassword(text, to: subject(call)).json(at: call.time)
        )
    }

    private func addAPIKey(_ call: Call, _ fields: inout Fields) async throws -> Answer {
        var wish = APIKeys.Wish()
        if fields.has("secret") { wish.text = fields.secret("secret") }
        wish.name = fields.secretName(isRequired: false)
        wish.expiresAt = fields.futureTime("expires_at")
        wish.scopes = fields.choices("scopes", of: Permission.self)
        try fields.check()
        let new = try await secrets.addAPIKey(wish, to: subject(call))
        return .data(new.key.json(at: call.time).merging(["secret": .string(new.text.reveal())]))
    }

    private func addDevice(_ call: Call, _ fields: inout Fields) async throws -> Answer {
        let text = fields.secret("secret")
        let name = fields.secretName(isRequired: true) ?? ""
        try fields.check()
        let device = try await secrets.addDevice(text, named: name, to: subject(call))
        return .data(device.json(at: call.time))
    }

    @Sendable private func enroll(_ call: Call) async throws -> Answer {
        var fields = call.fields
        // Seed 003 calls it a token.
        let code = fields.code(fields.has("token") && !fields.has("code") ? "token" : "code")
        try fields.check()
        guard let code else { return .data(.null) }
        let (secret, codes) = try await secrets.enroll(call.parameter("sid"), code, of: subject(call))
        let json = secret.json(at: call.time)
        return .data(json.merging(["codes": .array(codes.map { .string($0.text.reveal()) })]))
    }

    @Sendable private func replacePassword(_ call: Call) async throws -> Answer {
        let subject = try await subject(call)
        var fields = call.fields
        let new = fields.secret(fields.has("secret") && !fields.has("password") ? "secret" : "password")
        guard subject.isSelf else {
            try fields.check()
            return .data(try await secrets.replacePassword(by: new, of: subject).json(at: call.time))
        }
        let current = fields.secret("current_password")
        try fields.check()
        let (secret, outcome) = try await secrets.replaceOwnPassword(current, by: new, of: subject)
        // The end is the new token's: a password has none.
        guard case .object(let stored) = secret.json(at: call.time) else { return .data(.null) }
        return .data(outcome.json.merging(stored))
    }
}

extension Fields {
    /// What a secret is called, so that its owner knows it again.
    fileprivate mutating func secretName(isRequired: Bool) -> String? {
        let name = isRequired ? text("name") : optionalText("name")
        guard let name, !name.isEmpty else { return nil }
        if name.count > UserSecret.nameCountMax
            || name.unicodeScalars.contains(where: \.isUnprintable)
        {
            refuse("name", "must be one line of at most \(UserSecret.nameCountMax) characters")
        }
        return name
    }
}
