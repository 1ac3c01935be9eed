import HTTPTypes
import OrderedCollections
import Storage

/// Sign-in by a provider (contract §3 OAuth2).
struct OAuthRoutes: Sendable {
    let oauth: OAuth
    let merges: OAuthMerges
    let links: OAuthLinks
    let reauthentication: Reauthentication

    var routes: [Route] { going + coming + merging + linking + supporting + [landing] }

    private static let path = "/api/auth/:col/oauth2"
    private static let formTextBytesMax = 4096
    private static let codeBytesMax = 4096

    // MARK: Going there

    private var going: [Route] {
        [
            Route(
                .get,
                Self.path + "/providers",
                .open,
                "The providers that one can sign in by",
                query: Paging.members,
                gives: .list(.object([.required("name", .text), .required("display_name", .text)]))
            ) { call in
                _ = try call.collection()
                let providers = try await oauth.providers()
                return try call.services.page(Paging(query: call.query), of: providers, named: "providers") {
                    [.text($0.name)]
                }.answer { ["name": .string($0.name), "display_name": .string($0.displayName)] }
            },
            Route(
                .get,
                Self.path + "/authorize",
                .openToAll,
                "Where to send the browser to sign in by a provider",
                limit: .auth,
                query: Self.wish,
                gives: Self.authorization
            ) { call in
                let guest = try call.guest()?.user.id
                return .data(try await oauth.authorize(Self.wish(call), in: call.collection(), for: guest).json)
            },
            Route(
                .get,
                Self.path + "/connect",
                .member,
                "Where to send the browser to link a provider to one's account",
                limit: .auth,
                query: Self.wish,
                gives: Self.authorization
            ) { call in
                .data(try await links.authorize(Self.wish(call), by: call.principal()).json)
            },
        ]
    }

    private static let authorization = Shape.object([
        .required("authorize_url", .text), .required("pkce", .text), .required("state", .text),
    ])

    private static let wish: [Member] = [
        .required("provider", .text), .required("redirectUri", .text), .optional("state", .text),
        .optional("use_pkce", .text), .optional("code_challenge", .text), .optional("code_challenge_method", .text),
        .optional("landing", .text),
    ]

    private static func wish(_ call: Call) throws -> OAuth.Wish {
        var query = call.queryFields
        let wish = OAuth.Wish(
            provider: query.text("provider"),
            redirectURI: query.text("redirectUri", bytesMax: RedirectURI.bytesMax),
            state: query.optionalText("state", bytesMax: OAuthState.textBytesMax).flatMap { $0.isEmpty ? nil : $0 },
            usesPKCE: query.queryFlag("use_pkce"),
            challenge: query.optionalText("code_challenge"),
            usesLanding: query.queryFlag("landing")
        )
        if let method = query.optionalText("code_challenge_method"), method != "S256" {
            query.refuse("code_challenge_method", "must be S256")
        }
        try query.check()
        return wish
    }

    // MARK: Coming back

    private var coming: [Route] {
        [
            Route(
                .post,
                Self.path + "/exchange",
                .openToAll,
                "Log in by what a provider has sent back: a code, or to a mobile application an ID token",
                limit: .auth,
                takes: .object(
                    [
                        .required("provider", .text), .optional("code", .text), .optional("redirectUri", .text),
                        .optional("state", .text), .optional("code_verifier", .text), .optional("id_token", .text),
                        .optional("nonce", .text), .optional("iss", .text), .optional("record", .map(.any)),
                    ] + TokenWish.members
                ),
                gives: SignIn.shape,
                use: exchange
            )
        ]
    }

    @Sendable private func exchange(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let wish = fields.tokenWish()
        let record = fields.object("record")
        let showing = try fields.has("id_token") ? Self.idToken(&fields) : .code(Self.back(&fields))
        let outcome = try await oauth.exchange(
            showing,
            in: call.collection(),
            from: call.client,
            as: wish,
            record: record,
            guest: call.guest()
        )
        return .data(outcome.json)
    }

    /// Throws `validation_failed` for anything that is wrong with the fields.
    private static func idToken(_ fields: inout Fields) throws -> OAuth.Showing {
        for key in ["code", "redirectUri", "state", "code_verifier", "iss"] where fields.has(key) {
            fields.refuse(key, "can't go with an id_token")
        }
        let provider = fields.text("provider")
        let token = Secret(fields.text("id_token", bytesMax: IDToken.bytesMax))
        let nonce = fields.text("nonce")
        try fields.check()
        return .idToken(token, nonce: nonce, of: provider)
    }

    /// Throws `validation_failed` for anything that is wrong with the fields.
    private static func back(_ fields: inout Fields) throws -> OAuth.Return {
        let back = OAuth.Return(
            provider: fields.text("provider"),
            code: Secret(fields.text("code", bytesMax: codeBytesMax)),
            redirectURI: fields.text("redirectUri", bytesMax: RedirectURI.bytesMax),
            state: fields.optionalText("state", bytesMax: OAuthState.textBytesMax),
            verifier: fields.optionalText("code_verifier").map(Secret.init),
            issuer: fields.optionalText("iss", bytesMax: RedirectURI.bytesMax)
        )
        if let verifier = back.verifier?.reveal(), verifier.wholeMatch(of: /[A-Za-z0-9._~-]{43,128}/) == nil {
            fields.refuse("code_verifier", "must be 43 to 128 letters, digits, or any of - . _ ~")
        }
        try fields.check()
        return back
    }

    /// The provider posts to this server what it would put into the query of a redirect.
    private var landing: Route {
        Route(
            .post,
            Self.path + "/:provider/landing",
            .open,
            "Sends the browser on to the application, with what the provider has posted",
            limit: .auth,
            isPage: true,
            takes: .object([
                .required("state", .text), .optional("code", .text), .optional("error", .text),
                .optional("user", .text), .optional("iss", .text),
            ]),
            isFormTypeAccepted: true,
            gives: .any
        ) { call in
            var fields = call.fields
            let state = fields.text("state", bytesMax: OAuthState.textBytesMax)
            let posted = ["code", "error", "user", "iss"].compactMap { name in
                fields.optionalText(name, bytesMax: Self.formTextBytesMax).map { (name, $0) }
            }
            try fields.check()
            let provider = call.parameter("provider")
            return .redirect(try await oauth.landing(posted, state: state, of: provider, in: call.collection()))
        }
    }

    // MARK: Merging

    private var merging: [Route] {
        [
            Route(
                .post,
                Self.path + "/merge-confirm",
                .openToAll,
                "Link the provider to the account with the same email, by its password or signed in to it",
                limit: .auth,
                takes: .object(
                    [.required("merge_token", .text), .optional("password", .text)] + TokenWish.members
                ),
                gives: SignIn.shape
            ) { call in
                var fields = call.fields
                let wish = fields.tokenWish()
                let token = fields.text("merge_token")
                let password = fields.has("password") ? fields.secret("password") : nil
                try fields.check()
                let outcome = try await merges.confirm(
                    token,
                    password: password,
                    by: call.caller,
                    factor: call.factor,
                    in: call.collection(),
                    from: call.client,
                    as: wish
                )
                return .data(outcome.json)
            }
        ]
    }

    // MARK: Links

    private var linking: [Route] {
        [
            Route(
                .post,
                Self.path + "/connect",
                .member,
                "Link a provider to one's account, by what it has sent back",
                limit: .auth,
                takes: .object([
                    .required("provider", .text), .required("code", .text), .required("redirectUri", .text),
                    .required("state", .text), .optional("code_verifier", .text), .optional("iss", .text),
                ]),
                gives: .object([.required("linked", .text)])
            ) { call in
                var fields = call.fields
                _ = fields.text("state", bytesMax: OAuthState.textBytesMax)
                let back = try Self.back(&fields)
                try await links.connect(back, by: call.principal(), factor: call.factor, from: call.client)
                return .data(["linked": .string(back.provider)])
            },
            Route(
                .get,
                Self.path + "/links",
                .member,
                "The providers linked to one's account",
                query: Paging.members,
                gives: .list(Self.link)
            ) { call in
                try await answer(links.list(of: call.principal(), page: Paging(query: call.query)))
            },
            Route(
                .delete,
                Self.path + "/:provider/unlink",
                .member,
                "Unlink a provider from one's account",
                isForPersons: true,
                gives: .object([.required("unlinked", .text)])
            ) { call in
                let provider = call.parameter("provider")
                try await links.unlink(provider, by: call.principal(), from: call.client)
                return .data(["unlinked": .string(provider)])
            },
        ]
    }

    private static let link = Shape.object([
        .required("provider", .text), .required("display_name", .text), .required("email", .text),
        .required("created_at", .time), .required("last_used_at", .time),
    ])

    private func answer(_ links: PageOf<Identity>) async throws -> Answer {
        let names = try await oauth.displayNames()
        return links.answer { $0.json(displayName: names[$0.provider]) }
    }

    // MARK: Others' links

    private var supporting: [Route] {
        let path = "/api/admin/users/:col/:id/links"
        return [
            Route(
                .get,
                path,
                .admin,
                "The providers linked to a user's account",
                query: Paging.members,
                gives: .list(Self.link)
            ) { call in
                let page = try Paging(query: call.query)
                return try await answer(links.list(of: call.userID(), in: call.collection(), page: page))
            },
            Route(
                .delete,
                path + "/:provider",
                .admin,
                "Unlink a provider from a user's account, also the last way in",
                gives: .object([.required("unlinked", .text)])
            ) { call in
                if try call.collection().isAdmins {
                    try await reauthentication.check(call.principal(), factor: call.factor, from: call.client)
                }
                let provider = call.parameter("provider")
                try await links.unlink(provider, of: call.userID(), in: call.collection(), by: call.actor)
                return .data(["unlinked": .string(provider)])
            },
        ]
    }
}

extension Call {
    /// Who is signed in as a guest of the collection; nobody else's credential counts where one signs in.
    fileprivate func guest() throws -> Principal? {
        let collection = try collection()
        guard let caller, caller.user.isAnonymous, caller.session != nil, caller.impersonator == nil,
            caller.collection.id == collection.id
        else { return nil }
        return caller
    }
}

extension OAuth.Authorization {
    fileprivate var json: JSON {
        ["authorize_url": .string(url), "pkce": .string(pkce.name), "state": .string(state)]
    }
}

extension Identity {
    /// As its owner sees it.
    fileprivate func json(displayName: String?) -> JSON {
        [
            "provider": .string(provider), "display_name": .string(displayName ?? provider), "email": .optional(email),
            "created_at": createdAt.json, "last_used_at": lastUsedAt.json,
        ]
    }
}
