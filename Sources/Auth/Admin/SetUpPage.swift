import Mustache

/// The page behind the set-up URL: a form for the first admin.
enum SetUpPage {
    static func form(token: String, email: String, problems: [String]) -> String {
        let values: [String: Any] = ["token": token, "email": email, "problems": problems]
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
        {{#problems}}<p class="problem" role="alert">{{.}}</p>{{/problems}}
        <form method="post" action="/setup">
        <input type="hidden" name="setup_token" value="{{token}}">
        <label for="email">Email</label>
        <input id="email" name="email" type="email" autocomplete="username" required autofocus value="{{email}}">
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="new-password" required>
        <button>Create admin</button>
        </form>
        """
    )
}
