import HTTPTypes
import Mustache
import OrderedCollections

/// A built-in page behind a mailed link, so that links work with no front end: it says what a click does, and the click,
/// a form's POST, does it.
///
/// GET and HEAD change nothing: programs that scan mails follow links.
struct LinkPage: Sendable {
    let template: MailTemplate
    let feature: Feature?
    let title: String
    let lead: String
    let button: String
    let takesPassword: Bool
    let another: Another
    /// What its token is good for.
    let purposes: [SingleUsePurpose]
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
        /// By a form of this page.
        case here(@Sendable (_ email: String, Collection, Client) async throws -> Void)
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
                gives: .any
            ) { call in
                try await show(call)
            },
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

    private func collection(_ name: String?, _ call: Call) async throws -> Collection {
        let name = name.flatMap { $0.isEmpty ? nil : $0 } ?? FirstCollections.usersName
        guard let collection = try await call.services.collections()[name] else {
            throw AuthError(.notFound, "This link is incomplete. Open it as it stands in the mail.")
        }
        return collection
    }

    private func show(_ call: Call) async throws -> Answer {
        let token = call.query["token"] ?? ""
        let collection = try await collection(call.query["collection"], call)
        if token.isEmpty, case .here = another { return .page(render(.ask, collection)) }
        guard let parsed = OneTimeToken(parsing: token),
            try await call.services.holder(of: parsed, for: purposes, in: collection) != nil
        else { return dead(collection) }
        return .page(render(.form, collection, token: token))
    }

    @Sendable private func submit(_ call: Call) async throws -> Answer {
        var fields = call.fields
        let name = fields.optionalText("collection")
        let token = fields.optionalText("token") ?? ""
        let email = fields.optionalText("email", bytesMax: EmailAddress.bytesMax) ?? ""
        let password = takesPassword && !token.isEmpty ? fields.secret("password") : Secret("")
        let collection = try await collection(name, call)
        do {
            if token.isEmpty, case .here(let request) = another {
                if email.isEmpty { fields.refuse("email", "is required") }
                try fields.check()
                try await request(email, collection, call.client)
                return .page(render(.asked, collection))
            }
            try fields.check()
            let click = Click(token: token, password: password, collection: collection, client: call.client)
            return .page(render(.done(try await use(click)), collection))
        } catch let error as AuthError where error.code == .invalidOneTimeToken {
            return dead(collection)
        } catch let error as AuthError where error.code == .validationFailed {
            let problem = error.details.sorted { $0.key < $1.key }.map { "The \($0.key) \($0.value)." }
                .joined(separator: " ")
            let page = render(token.isEmpty ? .ask : .form, collection, token: token, problem: problem)
            return Answer(status: error.code.status, content: .page(page))
        }
    }

    private func dead(_ collection: Collection) -> Answer {
        let code = AuthError.Code.invalidOneTimeToken
        return Answer(status: code.status, content: .page(render(.dead, collection)))
    }

    // MARK: The page

    private enum State {
        case form
        case ask
        case asked
        case dead
        case done(Done)
    }

    private func render(_ state: State, _ collection: Collection, token: String = "", problem: String? = nil) -> String
    {
        var values: [String: Any] = ["collection": collection.name, "token": token]
        values["problem"] = problem
        var heading = title
        switch state {
        case .form:
            values["form"] = ["lead": lead, "button": button, "password": takesPassword] as [String: Any]
        case .ask:
            values["ask"] = true
        case .asked:
            heading = "Look into your mail"
            values["text"] = "If there is an account with this address, a mail is on its way. Its link works once."
        case .dead:
            heading = "This link doesn't work any more"
            values["alert"] = "It was used already, or it is too old, or a newer one has taken its place."
            switch another {
            case .here: values["ask"] = true
            case .elsewhere(let sentence): values["text"] = sentence
            }
        case .done(let done):
            heading = done.title
            values["text"] = done.text
            if let token = done.token { values["result"] = token.reveal() }
        }
        values["heading"] = heading
        return Page.html(title: heading, body: Self.body.render(values))
    }

    private static let body = Page.template(
        """
        <h1>{{heading}}</h1>
        {{#alert}}<p role="alert">{{alert}}</p>{{/alert}}
        {{#text}}<p role="status">{{text}}</p>{{/text}}
        {{#problem}}<p class="problem" role="alert" id="problem">{{problem}}</p>{{/problem}}
        {{#form}}
        <p>{{lead}}</p>
        <form method="post">
        <input type="hidden" name="token" value="{{token}}">
        <input type="hidden" name="collection" value="{{collection}}">
        {{#password}}<label for="password">New password</label>
        <input id="password" name="password" type="password" autocomplete="new-password" required autofocus{{#problem}} aria-invalid="true" aria-describedby="problem"{{/problem}}>{{/password}}
        <button>{{button}}</button>
        </form>
        {{/form}}
        {{#ask}}
        <form method="post">
        <input type="hidden" name="collection" value="{{collection}}">
        <label for="email">Your email address</label>
        <input id="email" name="email" type="email" autocomplete="username" required autofocus{{#problem}} aria-invalid="true" aria-describedby="problem"{{/problem}}>
        <button>Mail me a link</button>
        </form>
        {{/ask}}
        {{#result}}<label for="result">Your session token</label>
        <textarea id="result" rows="8" readonly>{{result}}</textarea>{{/result}}
        """
    )
}
