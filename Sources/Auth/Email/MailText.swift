import Foundation
import Mustache

/// A mail as it is read.
struct MailText: Sendable, Equatable {
    /// What is left of a rendered subject that is longer, so that its header fits into a line (RFC 5322 §2.1.1).
    static let subjectBytesMax = 500

    let subject: String
    let text: String
    let html: String

    /// Renders a template with the operator's texts, or the built-in ones where those are blank.
    ///
    /// Variables without a value are empty. In the HTML part values are escaped; the subject is one line.
    init(_ template: MailTemplate, _ values: [String: String], _ settings: Settings) {
        let subject = Self.render(settings.text(template.subjectKey), or: template.builtInSubject, values)
        self.subject = Self.line(subject)
        let body = settings.text(template.bodyKey)
        if body.trimmed.isEmpty || !Self.isHTML(body) {
            text = Self.render(body, or: template.builtInBody, values)
            html = Self.html(of: text, code: values["code"])
        } else {
            html = Self.template(body, "HTML")?.render(values) ?? ""
            text = Self.text(of: html)
        }
    }

    /// What is wrong with an operator's text; nil when it can be rendered.
    static func problem(with text: String) -> String? {
        do {
            _ = try MustacheTemplate(string: text)
            return nil
        } catch {
            return "is not a Mustache template: \(error)"
        }
    }

    private static func render(_ text: String, or builtIn: String, _ values: [String: String]) -> String {
        let text = text.trimmed.isEmpty ? builtIn : text
        return template(text, "TEXT")?.render(values) ?? ""
    }

    private static func template(_ text: String, _ contentType: String) -> MustacheTemplate? {
        try? MustacheTemplate(string: "{{% CONTENT_TYPE:\(contentType)}}" + text)
    }

    private static func line(_ text: String) -> String {
        let words = text.split { $0.isWhitespace || $0.isNewline || $0.unicodeScalars.contains { $0.value < 0x20 } }
        var line = words.joined(separator: " ")
        while line.utf8.count > subjectBytesMax { line.removeLast() }
        return line
    }

    private static func isHTML(_ body: String) -> Bool {
        body.firstMatch(
            of: /(?i)<\/?(!doctype|html|body|p|div|a|br|table|h[1-6]|span|strong|em|b|i|ul|ol|img|center)\b/
        )
            != nil
    }

    // MARK: Text to HTML

    /// Paragraphs, with links to follow; a code stands out.
    private static func html(of text: String, code: String?) -> String {
        let paragraphs = text.replacing("\r\n", with: "\n").split(separator: "\n\n").map { paragraph in
            let lines = paragraph.split(separator: "\n").map { line in
                line == code ?? ""
                    ? #"<strong style="font-size:1.6em;letter-spacing:.15em">\#(line)</strong>"# : linked(line)
            }
            return "<p>\(lines.joined(separator: "<br>\n"))</p>"
        }
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8">\
            <meta name="viewport" content="width=device-width, initial-scale=1"></head>
            <body style="max-width:34em;margin:1.5em auto;padding:0 1em;font:16px/1.5 sans-serif">
            \(paragraphs.joined(separator: "\n"))
            </body></html>

            """
    }

    private static func linked(_ line: Substring) -> String {
        guard line.starts(with: /https?:\/\/\S+$/) else { return escaped(line) }
        let address = escaped(line)
        return "<a href=\"\(address)\" style=\"overflow-wrap:anywhere\">\(address)</a>"
    }

    private static func escaped(_ text: Substring) -> String {
        String(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;").replacing("'", with: "&#39;")
    }

    // MARK: HTML to text

    /// What is left to read without tags; a link keeps its address.
    private static func text(of html: String) -> String {
        html.replacing(/(?is)<(head|style|script)\b.*?<\/\1\s*>/, with: "")
            .replacing(/\s+/, with: " ")
            .replacing(/(?i)<a\b[^>]*?href\s*=\s*"([^"]*)"[^>]*>(.*?)<\/a\s*>/) { link in
                link.2 == link.1 ? link.1 : "\(link.2) (\(link.1))"
            }
            .replacing(/(?i)<br\b[^>]*>|<\/(tr|li|h[1-6])\s*>/, with: "\n")
            .replacing(/(?i)<\/(p|div|table|ul|ol)\s*>/, with: "\n\n")
            .replacing(/<[^>]*>/, with: "")
            .replacing("&nbsp;", with: " ").replacing("&lt;", with: "<").replacing("&gt;", with: ">")
            .replacing("&quot;", with: "\"").replacing("&#39;", with: "'").replacing("&#x27;", with: "'")
            .replacing("&amp;", with: "&")
            .replacing(/\ *\n\ */, with: "\n").replacing(/\n{3,}/, with: "\n\n").trimmed + "\n"
    }
}
