import HTTPTypes
import Mustache
import OrderedCollections

/// A built-in page behind a mailed link, so that links work with no front end: it says what a click does, and the click,
/// a form's POST, does it.
///
/// GET and HEAD change nothing: programs that scan mails follow links.
struct LinkPage: Sendable {
    let template: MailTemplate
    /// What its token is good for.
    let purposes: [SingleUsePurpose]
    var feature: Feature?
    let title: String
    /// What the click does; `{{email}}` is the address that it is about.
    let lead: String
    let button: String
    var takesPassword = false
    let another: Another
    let use: @Sendable (Click) async throws -> Done

    /// What the form sends.
    struct Click: Sendable {
        let token: String
        let password: Secret<String>
        let collection: Collection
        let client: Client
    }

    /// What it has led to.
    struct Done: Sendable {
        let title: String
        let text: String
        /// To be copied.
        var token: Secret<String>?
    }

    /// How to get another link.
    enum Another: Sendable {
        /// By a form of this page, with a sentence and the label of its field.
        case here(lead: String, label: String, @Sendable (_ name: String, Collection, Client) async throws -> Void)
        /// Elsewhere; a sentence.
        case elsewhere(String)
    }

    var routes: [Route] {
        let path = template.page ?? ""
        return [
            Route(
                .get,
                path,
                .open,
                "The page behind a mailed link; changes nothing",
                feature: feature,
                isPage: true,
                query: [.optional("token", .text), .optional("collection", .text)],
                gives: .any,
                use: show
            ),
            Route(
                .post,
                path,
                .open,
                "What the page sends",
                limit: .auth,
                feature: feature,
                isPage: true,
                takes: .object([
                    .optional("token", .text), .optional("collection", .text), .optional("password", .text),
                    .optional("email", .text),
                ]),
                isFormTypeAccepted: true,
                gives: .any,
                use: submit
            ),
        ]
    }

    @Sendable private func show(_ call: Call) async throws -> Answer {
        let view = try await view(call, collection: call.query["collection"])
        let token = call.query["token"] ?? ""
        if token.isEmpty, view.another.isHere { return .page(view.ask()) }
        return try await form(token, view, call)
    }

    /// The form for a token that is good, with what was wrong with what it sent; what else to do for another one.
    private func form(_ text: String, _ view: LinkPageView, _ call: Call, problem: String? = nil) async throws -> Answer
    {
        guard let token = OneTimeToken(parsing: text) else {
            return Answer(status: AuthError.Code.invalidOneTimeToken.status, content: .page(view.incomplete()))
        }
        guard let holder = try await call.services.holder(of: token, for: purposes, in: view.collection) else {
            return Answer(status: AuthError.Code.invalidOneTimeToken.status, content: .page(view.dead()))
        }
        let email = template == .emailChange ? holder.grant.payload : holder.user.email
        let page = view.form(
            lead: lead,
            button: button,
            token: token,
            email: email ?? "",
            passwordCountMin: takesPassword ? try await PasswordPolicy(call.services.settings()).countMin : nil,
            problem: problem
        )
        return Answer(status: problem == nil ? 200 : AuthError.Code.validationFailed.status, content: .page(page))
    }

    @Sendable private func submit(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let view = try await view(call, collection: fields.optionalText("collection"))
        let token = fields.optionalText("token") ?? ""
        if token.isEmpty, !fields.has("token"), case .here(_, _, let request) = another {
            return try await ask(&fields, view, call, request)
        }
        let password = takesPassword ? fields.secret("password") : Secret("")
        do {
            guard OneTimeToken(parsing: token) != nil else { return try await form(token, view, call) }
            try fields.check()
            let click = Click(token: token, password: password, collection: view.collection, client: call.client)
            return .page(view.done(try await use(click)))
        } catch let error as AuthError where error.code == .invalidOneTimeToken {
            return try await form(token, view, call)
        } catch let error as AuthError where error.code == .validationFailed {
            return try await form(token, view, call, problem: error.sentence)
        }
    }

    /// Mails another link to whom the form names.
    private func ask(
        _ fields: inout Fields,
        _ view: LinkPageView,
        _ call: Call,
        _ request: (String, Collection, Client) async throws -> Void
    ) async throws -> Answer {
        let name = fields.text("email", bytesMax: EmailAddress.bytesMax)
        do {
            try fields.check()
            try await request(name, view.collection, call.client)
            return .page(view.asked())
        } catch let error as AuthError where error.code == .validationFailed {
            let typed = call.body["email"]?.text ?? ""
            return Answer(
                status: error.code.status,
                content: .page(view.ask(name: typed, problem: error.sentence))
            )
        }
    }

    private func view(_ call: Call, collection name: String?) async throws -> LinkPageView {
        let name = name.flatMap { $0.isEmpty ? nil : $0 } ?? FirstCollections.usersName
        guard let collection = try await call.services.collections()[name] else { throw AuthError(.notFound) }
        return LinkPageView(title: title, another: another, collection: collection)
    }
}

extension LinkPage.Another {
    var isHere: Bool {
        if case .here = self { true } else { false }
    }
}
