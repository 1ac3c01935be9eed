import HTTPTypes
import OrderedCollections

/// Creating the first admin.
struct SetUpRoutes: Sendable {
    let setUp: SetUp

    var routes: [Route] {
        [
            Route(
                .get,
                "/api/admin/setup/status",
                .open,
                "Whether there is an admin",
                gives: .object([.required("has_admin", .flag)])
            ) { _ in
                .data(["has_admin": .bool(try await setUp.hasAdmin())])
            },
            Route(
                .post,
                "/api/admin/setup",
                .open,
                "Make the first admin with the token that the server printed",
                limit: .auth,
                isHashing: true,
                takes: Self.body,
                gives: .record
            ) { call in
                .data(try await createAdmin(call).record(in: try await call.services.adminsCollection()))
            },
            Route(
                .get,
                "/setup",
                .open,
                "The page behind the printed address",
                isPage: true,
                query: [.optional("token", .text)],
                gives: .any
            ) { call in
                if try await setUp.hasAdmin() { return .page(SetUpPage.done) }
                return .page(SetUpPage.form(token: call.query["token"] ?? "", email: "", problem: nil, invalid: []))
            },
            Route(
                .post,
                "/setup",
                .open,
                "What the page sends",
                limit: .auth,
                isPage: true,
                takes: Self.body,
                isFormTypeAccepted: true,
                gives: .any,
                use: submitPage
            ),
        ]
    }

    private static let body = Shape.object([
        .required("email", .text), .required("password", .text), .required("setup_token", .text),
    ])

    private func createAdmin(_ call: Call) async throws -> User {
        // Told before the body is judged, so that a second set-up doesn't argue about fields.
        guard try await !setUp.hasAdmin() else { throw AuthError(.alreadySetUp) }
        var fields = call.fields
        let email = fields.text("email", bytesMax: EmailAddress.bytesMax)
        let password = fields.secret("password")
        let token = fields.text("setup_token", bytesMax: 200)
        try fields.check()
        return try await setUp.createFirstAdmin(email: email, password: password, token: token, from: call.client)
    }

    /// The page again, with what was wrong; a refusal keeps its status.
    @Sendable private func submitPage(_ call: Call) async throws -> Answer {
        do {
            _ = try await createAdmin(call)
            return .page(SetUpPage.done)
        } catch let error as AuthError where error.code == .alreadySetUp {
            return Answer(status: error.code.status, content: .page(SetUpPage.done))
        } catch let error as AuthError where error.code.status < 500 {
            let page = SetUpPage.form(
                token: call.body["setup_token"]?.text ?? "",
                email: call.body["email"]?.text ?? "",
                problem: error.details.isEmpty ? error.code.text : error.sentence,
                invalid: Set(error.details.keys)
            )
            return Answer(status: error.code.status, content: .page(page))
        }
    }
}
