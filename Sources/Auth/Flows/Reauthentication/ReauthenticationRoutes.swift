import HTTPTypes

/// Showing again that one is still oneself.
struct ReauthenticationRoutes: Sendable {
    let reauthentication: Reauthentication

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/reauthenticate",
                .signedIn,
                "Make the session fresh, for what can't be taken back",
                limit: .auth,
                isForEnrolment: true,
                takes: .object([
                    .optional("password", .text), .optional("code", .text), .optional("recovery_code", .text),
                ]),
                gives: .object([.required("reauthenticated", .flag), .required("fresh_seconds", .integer)])
            ) { call in
                var fields = call.fields
                let principal = try call.principal()
                if fields.has("password") {
                    let password = fields.secret("password")
                    for key in ["code", "recovery_code"] where fields.has(key) {
                        fields.refuse(key, "can't go with a password")
                    }
                    try fields.check()
                    try await reauthentication.renew(principal, by: password, from: call.client)
                } else {
                    let factor = fields.factor()
                    try fields.check()
                    try await reauthentication.renew(principal, by: factor ?? .unreadable, from: call.client)
                }
                return .data([
                    "reauthenticated": true, "fresh_seconds": .integer(Principal.freshSeconds),
                ])
            }
        ]
    }
}

extension Call {
    /// The second factor of the header `X-MFA-Code`; nil when none was sent.
    var factor: SecondFactors.Factor? {
        guard let text = mfaCode else { return nil }
        if let code = OneTimeCode(parsing: text) { return .code(code) }
        return RecoveryCode(parsing: text).map { .recoveryCode($0) } ?? .unreadable
    }
}
