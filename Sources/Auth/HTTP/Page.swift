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

    /// A refusal, for people.
    static func refusal(_ error: AuthError) -> String {
        html(title: "That didn't work", body: refusalBody.render(["text": error.message ?? error.code.text]))
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
        :root{color-scheme:light dark;--fg:#1b1f24;--bg:#f6f7f9;--card:#fff;--line:#c9ced6;--accent:#1f5fd6;--bad:#b3261e}
        @media(prefers-color-scheme:dark){:root{--fg:#e8eaed;--bg:#15181c;--card:#1e2227;--line:#4a515a;--accent:#8ab4f8;--bad:#f2b8b5}}
        *{box-sizing:border-box}body{margin:0;font:1rem/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg)}
        main{max-width:26rem;margin:10vh auto;padding:1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
        h1{font-size:1.25rem;margin:0 0 1rem}label{display:block;margin:.75rem 0 .25rem}
        input{width:100%;padding:.5rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.4rem}
        button{margin-top:1.25rem;width:100%;padding:.6rem;font:inherit;font-weight:600;color:var(--card);background:var(--accent);border:0;border-radius:.4rem}
        p{margin:0 0 1rem}textarea{width:100%;font:.8rem/1.4 monospace;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.4rem;padding:.5rem}
        :focus-visible{outline:3px solid var(--accent);outline-offset:2px}.problem{color:var(--bad)}code{overflow-wrap:anywhere}
        """
}
