import Foundation
import Mustache

/// A mail as it is read.
struct MailText: Sendable, Equatable {
    /// What is left of a rendered subject that is longer, so that its header fits into a line (RFC 5322 §2.1.1).
    static let subjectBytesMax = 500
    private static let sectionsMax = 20

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
            text = HTMLText.read(html)
        }
    }

    /// What is wrong with an operator's text; nil when it can be rendered.
    static func problem(with text: String) -> String? {
        // The parser goes down with each section, and so would the process.
        var depth = 0
        for tag in text.split(separator: "{{", omittingEmptySubsequences: false).dropFirst() {
            switch tag.drop(while: \.isWhitespace).first {
            case "#", "^", "<", "$": depth += 1
            case "/": depth -= 1
            case "=": return "must not change the delimiters"
            default: continue
            }
            guard depth <= sectionsMax else { return "nests more than \(sectionsMax) sections" }
        }
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

    /// Whether a tag of the usual ones stands in it.
    private static func isHTML(_ body: String) -> Bool {
        let tags =
            /(?i)<\/?(!doctype|html|head|body|main|section|article|header|footer|p|div|a|br|hr|table|tr|td|th|h[1-6]|span|strong|em|b|i|u|small|font|ul|ol|li|dl|img|center|blockquote|pre|code)\b/
        return body.firstMatch(of: tags) != nil
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

    /// Addresses in a line can be followed; a full stop or bracket behind one is not part of it.
    private static func linked(_ line: Substring) -> String {
        var html = ""
        var rest = line
        while let match = rest.firstMatch(of: /https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]]/) {
            let address = escaped(match.output)
            html += escaped(rest[..<match.range.lowerBound])
            html += "<a href=\"\(address)\" style=\"overflow-wrap:anywhere\">\(address)</a>"
            rest = rest[match.range.upperBound...]
        }
        return html + escaped(rest)
    }

    private static func escaped(_ text: Substring) -> String {
        String(text).replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;").replacing("'", with: "&#39;")
    }
}
