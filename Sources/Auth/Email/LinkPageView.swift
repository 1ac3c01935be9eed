import Mustache

/// The states of a ``LinkPage`` as HTML.
struct LinkPageView: Sendable {
    let title: String
    let another: LinkPage.Another
    let collection: Collection

    /// What a click does, and the button for it.
    ///
    /// `passwordCountMin` characters of a new password, where one is asked for.
    func form(
        lead: String,
        button: String,
        token: OneTimeToken,
        email: String,
        passwordCountMin: Int?,
        problem: String?
    ) -> String {
        var values: [String: Any] = [
            "lead": Page.template(lead).render(["email": email]), "button": button, "token": token.text, "email": email,
        ]
        if let passwordCountMin { values["password"] = ["min": passwordCountMin] }
        values["problem"] = problem
        return render(title, ["form": values])
    }

    /// The form that asks for a link.
    func ask(name: String = "", problem: String? = nil) -> String {
        render(title, ask: (name, problem))
    }

    func asked() -> String {
        let text = "If there is such an account, a mail is on its way. Its link works once."
        return render("Look into your mail", ["text": text])
    }

    func incomplete() -> String {
        render("This link is incomplete", ["alert": "Open it as it stands in the mail."], ask: ("", nil))
    }

    func dead() -> String {
        let text = """
            It was used already, or it is too old, or a newer one has taken its place. If you have just used it, it has done \
            its work.
            """
        return render("This link doesn't work any more", ["alert": text], ask: ("", nil))
    }

    func done(_ done: LinkPage.Done) -> String {
        var values: [String: Any] = ["text": done.text]
        values["result"] = done.token?.reveal()
        return render(done.title, values)
    }

    /// With the way to another link below, where `ask` is given.
    private func render(_ heading: String, _ values: [String: Any] = [:], ask: (name: String, problem: String?)? = nil)
        -> String
    {
        var values = values
        values["heading"] = heading
        values["collection"] = collection.name
        switch another {
        case _ where ask == nil: break
        case .here(let lead, let label, _):
            var form: [String: Any] = ["lead": lead, "label": label, "name": ask?.name ?? ""]
            form["problem"] = ask?.problem
            values["ask"] = form
        case .elsewhere(let sentence): values["text"] = sentence
        }
        return Page.html(title: heading, body: Self.body.render(values))
    }

    private static let body = Page.template(
        """
        <h1>{{heading}}</h1>
        {{#alert}}<p role="alert">{{alert}}</p>{{/alert}}
        {{#text}}<p role="status">{{text}}</p>{{/text}}
        {{#form}}
        <p>{{{lead}}}</p>
        {{#problem}}<p class="problem" role="alert" id="problem">{{problem}}</p>{{/problem}}
        <form method="post">
        <input type="hidden" name="token" value="{{token}}">
        <input type="hidden" name="collection" value="{{collection}}">
        {{#password}}
        <label for="account">Account</label>
        <input id="account" type="text" autocomplete="username" value="{{email}}" readonly>
        <label for="password">New password</label>
        <input id="password" name="password" type="password" autocomplete="new-password" required autofocus aria-describedby="hint{{#problem}} problem{{/problem}}"{{#problem}} aria-invalid="true"{{/problem}}>
        <p class="hint" id="hint">At least {{min}} characters.</p>
        {{/password}}
        <button>{{button}}</button>
        </form>
        {{/form}}
        {{#ask}}
        <p>{{lead}}</p>
        {{#problem}}<p class="problem" role="alert" id="problem">{{problem}}</p>{{/problem}}
        <form method="post">
        <input type="hidden" name="collection" value="{{collection}}">
        <label for="email">{{label}}</label>
        <input id="email" name="email" type="text" inputmode="email" autocapitalize="none" spellcheck="false" autocomplete="username" required autofocus value="{{name}}"{{#problem}} aria-invalid="true" aria-describedby="problem"{{/problem}}>
        <button>Mail me a link</button>
        </form>
        {{/ask}}
        {{#result}}<label for="result">Session token</label>
        <textarea id="result" rows="10" readonly spellcheck="false">{{result}}</textarea>{{/result}}
        """
    )
}
