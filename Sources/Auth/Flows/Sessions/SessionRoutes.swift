import HTTPTypes
import OrderedCollections

/// What the owner of a session can do with it.
struct SessionRoutes: Sendable {
    static let resourceBytesMax = 2048
    let sessions: Sessions

    var routes: [Route] {
        [
            Route(.get, "/api/auth/me", .signedIn, "Who one is", isForEnrolment: true, gives: .record, use: me),
            Route(
                .get,
                "/api/admin/auth/me",
                .admin,
                "Who one is, as an admin",
                isForEnrolment: true,
                gives: .record,
                use: me
            ),
            Route(
                .post,
                "/api/auth/refresh",
                .signedIn,
                "Another token of the same session",
                isForEnrolment: true,
                gives: Self.token,
                use: refresh
            ),
            Route(
                .post,
                "/api/auth/logout",
                .signedIn,
                "End the session; all its tokens die",
                isForEnrolment: true,
                isForImpersonation: true,
                gives: .object([.required("ok", .flag)])
            ) { call in
                let principal = try call.principal()
                let session = try principal.signedInSession()
                try await sessions.end(session.id, of: principal, because: .logout, from: call.client)
                return .data(["ok": true])
            },
            Route(
                .get,
                "/api/auth/sessions",
                .signedIn,
                "One's live sessions, newest first",
                query: Paging.members,
                gives: .list(.any)
            ) { call in
                let principal = try call.principal()
                _ = try principal.signedInSession()
                let live = try await sessions.list(of: principal, page: Paging(query: call.query))
                return live.answer { $0.json(isCurrent: $0.id == principal.session?.id) }
            },
            Route(
                .delete,
                "/api/auth/sessions/:id",
                .signedIn,
                "End one of one's sessions",
                gives: .object([.required("ok", .flag)])
            ) { call in
                _ = try call.principal().signedInSession()
                guard let id = SessionID(rawValue: call.parameter("id")) else { throw AuthError(.notFound) }
                try await sessions.end(id, of: call.principal(), because: .revoked, from: call.client)
                return .data(["ok": true])
            },
            Route(
                .delete,
                "/api/auth/sessions",
                .signedIn,
                "End one's other sessions (`scope=others`) or all (`scope=all`)",
                query: [.required("scope", .text)],
                gives: .object([.required("ended", .integer)]),
                use: endMany
            ),
            Route(
                .post,
                "/api/auth/file-token",
                .signedIn,
                "A token that an application's file server checks by the JWKS",
                takes: .object([.required("resource", .text)]),
                gives: Self.token,
                use: fileToken
            ),
            Route(.get, "/.well-known/jwks.json", .open, "The public keys of the tokens (RFC 7517)", gives: .any) {
                call in
                .document(try await call.services.signingKeys().jwks, cacheSeconds: 300)
            },
        ]
    }

    private static let token = Shape.object([.required("token", .text), .required("expires_at", .time)])

    /// `{id,email,collection,aud,exp,amr,…record}`.
    @Sendable private func me(_ call: Call) async throws -> Answer {
        let principal = try call.principal()
        let claims = principal.claims
        guard case .object(var me) = principal.user.record(in: principal.collection) else { return .data(.null) }
        // Set over the record's members: a field of the user's own can't pass for a claim.
        if let admin = principal.impersonator { me["impersonated_by"] = .string(admin.rawValue) }
        me["aud"] = .string(claims.audience.rawValue)
        me["exp"] = claims.expiresAt.map { .integer($0.seconds) } ?? .null
        me["amr"] = .array(claims.methods.map(JSON.string))
        return .data(.object(me))
    }

    @Sendable private func refresh(_ call: Call) async throws -> Answer {
        let (token, expiresAt) = try await sessions.refresh(call.principal())
        return .data(["token": .string(token.reveal()), "expires_at": expiresAt.json])
    }

    @Sendable private func endMany(_ call: Call) async throws -> Answer {
        _ = try call.principal().signedInSession()
        let scope = call.query["scope"] ?? ""
        guard scope == "others" || scope == "all" else {
            throw AuthError.validation(["scope": "must be others or all"])
        }
        let count = try await sessions.endMany(
            of: call.principal(),
            keepingCurrent: scope == "others",
            from: call.client
        )
        return .data(["ended": .integer(Int64(count))])
    }

    @Sendable private func fileToken(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let resource = fields.text("resource", bytesMax: Self.resourceBytesMax)
        try fields.check()
        let (token, expiresAt) = try await sessions.fileToken(call.principal(), for: resource, from: call.client)
        return .data(["token": .string(token.reveal()), "expires_at": expiresAt.json])
    }
}
