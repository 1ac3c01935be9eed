import Foundation
import Testing

@testable import Auth

@Suite struct MailTextTests {
    private static let values = [
        "email": "o'hara+<b>@example.org", "link": "https://app.example.org/auth/verify?token=T&collection=users",
        "token": "T", "appUrl": "https://app.example.org", "collection": "users", "code": "012345",
    ]

    private func render(_ template: MailTemplate, subject: String = "", body: String = "") -> MailText {
        MailText(template, Self.values, Settings(stored: [template.subjectKey: subject, template.bodyKey: body]))
    }

    @Test(arguments: MailTemplate.allCases)
    func `every built-in text can be read as text and as HTML`(_ template: MailTemplate) {
        var values = Self.values
        values["event"] = "Your password was changed"
        let mail = MailText(template, values, Settings(stored: [:]))
        #expect(!mail.subject.isEmpty)
        for part in [mail.subject, mail.text, mail.html] { #expect(!part.contains("{{")) }
        guard template.page != nil else { return }
        #expect(mail.text.contains(values["link"] ?? "-"))
        #expect(mail.html.contains(#"<a href="https://app.example.org/auth/verify?token=T&amp;collection=users""#))
    }

    @Test func `the code stands on a line of its own, and in the subject`() {
        let mail = render(.otp)
        #expect(mail.subject == "012345 is your sign-in code")
        #expect(mail.text.split(separator: "\n").contains("012345"))
        #expect(mail.html.contains(">012345</strong>"))
    }

    @Test(arguments: ["", "  \n "])
    func `a blank text is the built-in one`(_ blank: String) {
        #expect(render(.verify, subject: blank, body: blank) == render(.verify))
    }

    @Test func `every variable of the seed is there, and an unknown one is empty`() {
        let names = ["email", "token", "link", "appUrl", "collection", "code", "unknown"]
        let mail = render(.otp, body: names.map { "\($0)={{\($0)}}" }.joined(separator: "\n"))
        let expected = names.dropLast().map { "\($0)=\(Self.values[$0] ?? "-")" } + ["unknown="]
        #expect(mail.text == expected.joined(separator: "\n"))
    }

    @Test func `values are escaped in HTML, and as they are in text`() {
        let text = render(.verify, body: "Hi {{email}} & <co>")
        #expect(text.text == "Hi o'hara+<b>@example.org & <co>")
        #expect(text.html.contains("Hi o&#39;hara+&lt;b&gt;@example.org &amp; &lt;co&gt;"))
        let html = render(.verify, body: "<p>Hi {{email}}</p>")
        #expect(html.html.contains("o&#39;hara+&lt;b&gt;@example.org"))
        #expect(!html.html.contains("<b>"))
        #expect(html.text == "Hi o'hara+<b>@example.org\n")
    }

    @Test func `an HTML body is made readable without tags`() {
        let body = """
            <html><head><style>p{color:red}</style></head><body><h1>Welcome</h1>
            <p>Click <a class="x" href="{{link}}">here</a>, or&nbsp;<a href="{{link}}">{{link}}</a>.<br>Bye</p></body></html>
            """
        let mail = render(.verify, body: body)
        #expect(
            mail.text == """
                Welcome
                Click here (\(Self.values["link"] ?? "")), or \(Self.values["link"] ?? "").
                Bye

                """
        )
    }

    @Test func `a subject is one line, however it was written`() {
        #expect(
            render(.verify, subject: "Hi\r\nBcc: x@example.org\t{{code}}").subject == "Hi Bcc: x@example.org 012345"
        )
        let long = render(.verify, subject: String(repeating: "ä", count: 400)).subject
        #expect(long.utf8.count == MailText.subjectBytesMax)
    }

    @Test(arguments: [
        ("<p>a</p><p>b</p>", "a\n\nb\n"), ("a<br>b<br/>c", "a\nb\nc\n"), ("<b>a</b> b", "a b\n"),
        ("<a href='https://x.example/?a=1&amp;b=2'>go</a>", "go (https://x.example/?a=1&b=2)\n"),
        ("<a href=https://x.example/>go</a>", "go (https://x.example/)\n"),
        ("<!-- <p>no</p> > --><p>&lt;a&gt; &copy; &#228;&#xE4; &unknown; & </p>", "<a> © ää &unknown; &\n"),
        ("<STYLE>p{}</Style><Script>if (a<b) {}</sCript>x", "x\n"), ("<style>never closed", "\n"), ("a < b", "a\n"),
        ("<section>a</section><blockquote>b</blockquote>c", "a\n\nb\n\nc\n"),
    ])
    func `tags are read past`(_ html: String, _ text: String) {
        #expect(HTMLText.read(html) == text)
    }

    @Test func `tags, links and comments that never end are read past`() {
        let body = "<p>" + String(repeating: "<style ", count: 9000)
        #expect(HTMLText.read(body).utf8.count < 10)
        #expect(HTMLText.read(String(repeating: "<a href=", count: 8000)).utf8.count < 10)
        #expect(HTMLText.read("<!--" + String(repeating: "-", count: 60_000)).utf8.count < 10)
    }

    @Test func `addresses inside a line can be followed, without the full stop behind`() {
        let mail = render(.verify, body: "Go to {{link}}. Or (https://b.example/x)!")
        #expect(mail.html.contains(#"collection=users" style="overflow-wrap:anywhere">"#))
        #expect(mail.html.contains("collection=users</a>. Or (<a href="))
        #expect(mail.html.contains(">https://b.example/x</a>)!"))
    }

    @Test(arguments: [
        "{{email", "{{#a}}x", "{{/a}}", "{{#a}}{{/b}}", "{{=<% %>=}}",
        String(repeating: "{{#email}}", count: 1500) + String(repeating: "{{/email}}", count: 1500),
        String(repeating: "{{ ^email}}", count: 21) + String(repeating: "{{/email}}", count: 21),
    ])
    func `what is no template is refused by the setting`(_ text: String) {
        #expect(SettingsCatalogue.definition(of: "email.verify.body")?.problem(with: text) != nil)
        #expect(SettingsCatalogue.definition(of: "email.verify.subject")?.problem(with: text) != nil)
    }
}

@Suite struct MailHeaderTests {
    @Test(arguments: ["Sign in", "a: b; <c>", ""])
    func `printable ASCII stays as it is`(_ text: String) {
        #expect(MailHeader.text(text) == text)
    }

    @Test(arguments: ["Grüße", "日本語の件名がここに長く続くとどうなるかを見る", "a\r\nBcc: b@example.org", "=?utf-8?Q?x?=", "👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦"])
    func `anything else is encoded words that say the same, on one line`(_ text: String) throws {
        let header = MailHeader.text(text)
        #expect(header.utf8.allSatisfy { (0x20...0x7E).contains($0) })
        var decoded: [UInt8] = []
        for word in header.split(separator: " ") {
            #expect(word.utf8.count <= 75)
            #expect(word.hasPrefix("=?utf-8?B?") && word.hasSuffix("?="))
            let bytes = try #require(Data(base64Encoded: String(word.dropFirst(10).dropLast(2))))
            // Each word is whole characters (RFC 2047 §5).
            #expect(String(validating: bytes, as: UTF8.self) != nil)
            decoded += bytes
        }
        #expect(String(decoding: decoded, as: UTF8.self) == text)
    }

    @Test func `a date is RFC 5322's`() {
        #expect(MailHeader.date(Timestamp(seconds: 1_709_164_800)) == "Thu, 29 Feb 2024 00:00:00 +0000")
        #expect(MailHeader.date(Timestamp(seconds: 1_795_680_005)) == "Thu, 26 Nov 2026 08:00:05 +0000")
    }

    @Test(arguments: [
        ("a@b.example", "a@b.example"), (" Ada <a@b.example> ", "\"Ada\" <a@b.example>"),
        ("\"Ada, L.\" <a@b.example>", "\"Ada, L.\" <a@b.example>"), ("<a@b.example>", "a@b.example"),
        ("Ädä <a@b.example>", "=?utf-8?B?w4Rkw6Q=?= <a@b.example>"),
    ])
    func `a sender stands in From`(_ text: String, _ header: String) {
        #expect(Mailbox(parsing: text)?.header == header)
    }

    @Test(arguments: ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "::1", "[::1]"])
    func `a loopback address is one`(_ host: String) {
        #expect(OwnAddress.isLoopback(host))
    }

    @Test(arguments: ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.org", "localhost.example.org", "128.0.0.1", ""])
    func `and another one is not`(_ host: String) {
        #expect(!OwnAddress.isLoopback(host))
    }
}
