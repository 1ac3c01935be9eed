import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

/// The pages behind mailed links, as far as no browser is needed.
@Suite struct LinkPageTests {
    private static let on: [String: String?] = ["auth.otp.enabled": "1"]
    private static let form = "application/x-www-form-urlencoded"

    private func submit(_ server: TestServer, _ path: String, _ form: String) async throws -> Reply {
        try await server.send(.post, path, headers: [.contentType: Self.form], raw: Array(form.utf8))
    }

    /// Path and query of the link that was mailed.
    private func link(_ server: TestServer, _ template: MailTemplate) async throws -> String {
        let recipient = template == .emailChange ? "new@example.org" : "ada@example.org"
        let link = try await server.mail(to: recipient, template)["link"]?.text ?? ""
        return String(link.trimmingPrefix("http://127.0.0.1:8090"))
    }

    private func prepare(_ server: TestServer) async throws {
        let token = try await server.signedUp("ada@example.org")
        let id = try await server.get("/api/auth/me", token: token).data()["id"]?.text ?? ""
        server.clock.advance(seconds: 1)
        let email: JSON = ["email": "ada@example.org"]
        for path in ["request-password-reset", "otp/request"] {
            _ = try await server.post("/api/auth/users/\(path)", email).data()
        }
        _ = try await server.post("/api/users/\(id)/recover").data()
        let new: JSON = ["email": "new@example.org"]
        _ = try await server.send(.patch, "/api/records/users/\(id)", new, token: token).data()
    }

    @Test(arguments: [MailTemplate.verify, .reset, .otp, .recover, .emailChange])
    func `GET and HEAD consume nothing; the form's POST does, once`(_ template: MailTemplate) async throws {
        let server = try await TestServer(.sqlite, settings: Self.on)
        try await prepare(server)
        let link = try await link(server, template)
        for method in [HTTPRequest.Method.get, .head, .get, .head] {
            let page = try await server.send(method, link)
            #expect(page.status == 200, "\(page.text)")
            #expect(page.headers[.contentType] == "text/html; charset=utf-8")
            let policy = page.headers[.contentSecurityPolicy] ?? ""
            #expect(policy.contains("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("script"))
            #expect(page.headers[.cacheControl] == "no-store")
        }
        #expect(try await server.count("SELECT count(*) AS count FROM one_time_tokens WHERE used_at IS NOT NULL") == 0)
        let (path, query) = (String(link.prefix { $0 != "?" }), String(link.drop { $0 != "?" }.dropFirst()))
        let form = query + "&password=a+brand+new+one"
        #expect(try await submit(server, path, form).status == 200)
        let again = try await submit(server, path, form)
        #expect(again.status == 400)
        #expect(again.text.contains("This link doesn&#39;t work any more"))
        #expect(try await server.send(.get, link).status == 400)
    }

    @Test func `what a token says is shown as text`() async throws {
        let server = try await TestServer(.sqlite, settings: Self.on)
        let hostile = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
        for path in ["/auth/verify", "/auth/reset", "/auth/otp", "/auth/recover", "/auth/email-change"] {
            for query in ["token=\(hostile)", "token=x&collection=\(hostile)", "collection=nope", "token="] {
                let page = try await server.send(.get, "\(path)?\(query)")
                #expect([200, 400, 404].contains(page.status), "\(path)?\(query)")
                #expect(!page.text.contains("<script"))
                #expect(page.headers[.contentType] == "text/html; charset=utf-8")
            }
        }
    }

    @Test func `refusals of a page are pages`() async throws {
        let server = try await TestServer(.sqlite)
        let off = try await server.send(.get, "/auth/otp?token=x")
        #expect(off.status == 422)
        #expect(off.text.contains("<h1>") && off.text.contains("is switched off"))
        let type = try await server.send(.post, "/auth/reset", headers: [.contentType: "text/plain"], raw: [65])
        #expect(type.status == 415)
        #expect(type.text.contains("<h1>"))
    }

    @Test func `a weak password brings the form again, with its token`() async throws {
        let server = try await TestServer(.sqlite, settings: Self.on)
        try await prepare(server)
        let link = try await link(server, .reset)
        let query = String(link.drop { $0 != "?" }.dropFirst())
        let page = try await submit(server, "/auth/reset", query + "&password=short")
        #expect(page.status == 422)
        #expect(page.text.contains("must be at least 8 characters"))
        let token = try await server.token(to: "ada@example.org", .reset)
        #expect(page.text.contains(token))
        #expect(try await submit(server, "/auth/reset", query + "&password=").status == 422)
        #expect(try await submit(server, "/auth/reset", query + "&password=long+enough+1").status == 200)
    }

    @Test func `the page of a reset asks for another mail, for anybody alike`() async throws {
        let server = try await TestServer(.sqlite, settings: Self.on)
        try await server.signUp("ada@example.org")
        #expect(try await server.send(.get, "/auth/reset").text.contains("Mail me a link"))
        var pages: Set<String> = []
        for email in ["ada%40example.org", "nobody%40example.org"] {
            let page = try await submit(server, "/auth/reset", "collection=users&email=\(email)")
            #expect(page.status == 200)
            pages.insert(page.text)
        }
        #expect(pages.count == 1)
        #expect(try await server.mails().filter { $0.hasSuffix("reset ada@example.org") }.count == 1)
        #expect(try await submit(server, "/auth/reset", "email=nonsense").status == 422)
    }
}
