import HTTPTypes
import OrderedCollections

/// Password sign-in and change, for users and for admins.
struct PasswordRoutes: Sendable {
    let passwords: Passwords

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/login",
                .open,
                "Log in with a password",
                limit: .auth,
                isHashing: true,
                takes: Self.credentials,
                gives: SignIn.shape
            ) { call in
                try await logIn(call, in: try call.collection())
            },
            Route(
                .post,
                "/api/admin/auth/login",
                .open,
                "Log in as an admin",
                limit: .auth,
                isHashing: true,
                takes: Self.credentials,
                gives: SignIn.shape
            ) { call in
                try await logIn(call, in: try await call.services.adminsCollection())
            },
            Route(
                .post,
                "/api/auth/:col/change-password",
                .member,
                "Change one's password; every other session ends",
                limit: .auth,
                takes: .object([.required("current_password", .text), .required("password", .text)]),
                gives: SignIn.shape,
                use: change
            ),
        ]
    }

    private static let credentials = Shape.object(
        [
            .optional("email", .text), .optional("username", .text), .optional("identity", .text),
            .required("password", .text), .optional("code", .text), .optional("recovery_code", .text),
        ] + TokenWish.members
    )

    private func logIn(_ call: Call, in collection: Collection) async throws -> Answer {
        var fields = call.fields
        let password = fields.secret("password")
        let name = fields.signInName()
        let factor = fields.factor(isRequired: false)
        let wish = fields.tokenWish()
        try fields.check()
        let outcome = try await passwords.signIn(name, password, factor, in: collection, from: call.client, as: wish)
        return .data(outcome.json)
    }

    @Sendable private func change(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let current = fields.secret("current_password")
        let new = fields.secret("password")
        try fields.check()
        return .data(try await passwords.change(of: call.principal(), from: current, to: new, from: call.client).json)
    }
}

/// What somebody signs in under: an email, a username, or either ("identity").
struct SignInName: Sendable {
    enum Kind: Sendable { case email, username, identity }

    let kind: Kind
    let text: String

    var emailFolded: String? { kind == .username ? nil : EmailAddress(parsing: text)?.folded }
    /// Names what was meant, of each kind apart: an email sent as a username reaches no account, so it must not count
    /// against the email that nobody has either, or the difference would tell which emails somebody has.
    var lockoutKey: String {
        if let emailFolded { return "email:\(emailFolded)" }
        if let usernameFolded { return "username:\(usernameFolded)" }
        return "\(kind):\(text.folded)"
    }

    var usernameFolded: String? { kind == .email ? nil : Username(parsing: text)?.folded }
}

extension Fields {
    /// Exactly one of `email`, `username` and `identity`.
    mutating func signInName() -> SignInName {
        let given: [(SignInName.Kind, String)] = [(.email, "email"), (.username, "username"), (.identity, "identity")]
        let names = given.compactMap { kind, key in optionalText(key).map { SignInName(kind: kind, text: $0) } }
        if names.count == 1, let name = names.first { return name }
        if problems.keys.contains(where: { key in given.contains { $0.1 == key } }) == false {
            refuse(
                "email",
                names.isEmpty
                    ? "is required (or username, or identity)" : "must be the only one of email, username and identity"
            )
        }
        return SignInName(kind: .identity, text: "")
    }
}
