import Crypto
import Foundation
import Mustache

/// The frame of every built-in page: no script, no outside resource, one style sheet that the policy names by its
/// digest.
enum Page {
    /// `body` is HTML; `title` is escaped.
    static func html(title: String, body: String) -> String {
        frame.render(["title": title, "style": style, "body": body])
    }

    static let contentSecurityPolicy =
        "default-src 'none'; style-src 'sha256-\(Data(SHA256.hash(data: Data(style.utf8))).base64EncodedString())'; "
        + "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

    /// A refusal, for people who can do nothing about settings and formats.
    static func refusal(_ error: AuthError) -> String {
        let wait = error.retryAfterSeconds.map {
            $0 == 1 ? "a second" : $0 < 60 ? "\($0) seconds" : $0 <= 60 ? "a minute" : "\(($0 + 59) / 60) minutes"
        }
        let text =
            switch error.code {
            case .mailNotConfigured: "This server can't send mail now. Ask whoever runs it."
            case .featureDisabled: "This is switched off. Ask whoever runs this service."
            case .malformed, .unsupportedMediaType, .tooLarge, .headTooLarge:
                "This could not be read. Open the address as you were given it."
            case .notFound: "This link is incomplete. Open it as it stands in the mail."
            case .emailTaken:
                "Somebody else uses this address by now. Sign in where you use your account, and choose another."
            case .rateLimited, .lockedOut: "Too many tries. Wait \(wait ?? "a moment"), then try again."
            case .overloaded, .unavailable: "The server is busy. Try again in a moment."
            default: error.message ?? error.code.text
            }
        return html(title: "That didn't work", body: refusalBody.render(["text": text]))
    }

    private static let refusalBody = template(
        """
        <h1>That didn't work</h1>
        <p role="alert">{{text}}</p>
        """
    )

    /// For templates that are written here: one that doesn't parse is a mistake of ours.
    static func template(_ text: String) -> MustacheTemplate {
        do {
            return try MustacheTemplate(string: text)
        } catch {
            preconditionFailure("a built-in template doesn't parse: \(error)")
        }
    }

    private static let frame = template(
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>{{title}} · Latchkey</title>
        <style>{{{style}}}</style>
        </head>
        <body><main>{{{body}}}</main></body>
        </html>

        """
    )

    private static let style = """
        :root{color-scheme:light dark;--fg:#1b1f24;--bg:#f6f7f9;--card:#fff;--line:#d5d9e0;--edge:#767f8c;--accent:#1f5fd6;--bad:#b3261e}
        @media(prefers-color-scheme:dark){:root{--fg:#e8eaed;--bg:#15181c;--card:#1e2227;--line:#3a4048;--edge:#858e9a;--accent:#8ab4f8;--bad:#f2b8b5}}
        *{box-sizing:border-box}body{margin:0;padding:10vh min(1rem,4vw) 2rem;font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere;color:var(--fg);background:var(--bg)}
        main{max-width:26rem;margin:0 auto;padding:1.5rem min(1.5rem,6vw);background:var(--card);border:1px solid var(--line);border-radius:.75rem}
        main>:last-child{margin-bottom:0}h1{font-size:1.375rem;line-height:1.25;text-wrap:balance;margin:0 0 .75rem}p{margin:0 0 1rem}
        label{display:block;margin:1rem 0 .4rem;font-weight:600}.hint{margin:.5rem 0 0;font-size:.875rem}
        input,textarea{display:block;width:100%;padding:.6rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--edge);border-radius:.4rem}
        [type=hidden]{display:none}input[readonly]{padding:0;border:0;border-radius:0;text-overflow:ellipsis}[type=hidden]+button{margin-top:.25rem}
        textarea{font:.8rem/1.5 ui-monospace,monospace;word-break:break-all;resize:vertical;field-sizing:content}
        [aria-invalid=true]{border:2px solid var(--bad)}
        button{margin-top:1.25rem;width:100%;min-height:2.75rem;padding:.5rem;font:inherit;font-weight:600;color:var(--card);background:var(--accent);border:1px solid transparent;border-radius:.4rem;cursor:pointer}
        button:hover{filter:brightness(.92)}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
        .problem{margin:1rem 0;padding:.6rem .75rem;color:var(--bad);border:1px solid;border-left-width:4px;border-radius:.4rem}
        """
}
