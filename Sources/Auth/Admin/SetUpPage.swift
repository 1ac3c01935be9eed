import Mustache

/// The page behind the set-up URL: a form for the first admin.
enum SetUpPage {
    /// `invalid` are the fields that the problem is about.
    static func form(token: String, email: String, problem: String?, invalid: Set<String>) -> String {
        var values: [String: Any] = ["token": token, "email": email]
        values["problem"] = problem
        // Without it the form can't succeed.
        if !token.isEmpty {
            let isPasswordNext = invalid.contains("password") && !invalid.contains("email")
            values["form"] = [
                "isEmailInvalid": invalid.contains("email"), "isPasswordInvalid": invalid.contains("password"),
                "isPasswordNext": isPasswordNext,
            ]
        }
        return Page.html(title: "Create the first admin", body: template.render(values))
    }

    static let done = Page.html(
        title: "Set up",
        body: """
            <h1>This server is set up</h1>
            <p>Its admin logs in with <code>POST /api/admin/auth/login</code>.</p>
            """
    )

    private static let template = Page.template(
        """
        <h1>Create the first admin</h1>
        {{^form}}<p role="alert">Open the address that the server printed when it started, with its token.</p>{{/form}}
        {{#problem}}<p class="problem" role="alert" id="problem">{{problem}}</p>{{/problem}}
        {{#form}}
        <form method="post" action="/setup">
        <input type="hidden" name="setup_token" value="{{token}}">
        <label for="email">Email</label>
        <input id="email" name="email" type="text" inputmode="email" autocapitalize="none" spellcheck="false" autocomplete="username" required{{^isPasswordNext}} autofocus{{/isPasswordNext}} value="{{email}}"{{#isEmailInvalid}} aria-invalid="true" aria-describedby="problem"{{/isEmailInvalid}}>
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="new-password" required{{#isPasswordNext}} autofocus{{/isPasswordNext}}{{#isPasswordInvalid}} aria-invalid="true" aria-describedby="problem"{{/isPasswordInvalid}}>
        <button>Create admin</button>
        </form>
        {{/form}}
        """
    )
}
