import HTTPTypes

/// Guests, and their promotion.
struct AnonymousRoutes: Sendable {
    let guests: Guests

    var routes: [Route] {
        [
            Route(
                .post,
                "/api/auth/:col/anonymous",
                .open,
                "Begin as a guest, without email and password",
                limit: .auth,
                feature: .anonymous,
                gives: SignIn.shape
            ) { call in
                .data(try await guests.begin(in: call.collection(), from: call.client).json)
            },
            Route(
                .post,
                "/api/auth/:col/promote",
                .member,
                "Make one's guest account a real one; the id stays",
                limit: .auth,
                isHashing: true,
                takes: .object(
                    [.required("email", .text), .required("password", .text), .optional("username", .text)],
                    others: .any
                ),
                gives: SignIn.shape
            ) { call in
                .data(try await guests.promote(call.body, by: call.principal(), from: call.client).json)
            },
        ]
    }
}
