import Foundation

/// An address to which a provider sends the browser back, with a code in its query.
enum RedirectURI {
    static let bytesMax = 2000

    /// Absolute, without a fragment or user info (RFC 6749 §3.1.2): `https`, `http`, or an application's own scheme
    /// (RFC 8252 §7.1), which must be none that a browser runs or reads.
    ///
    /// Whether `http` will do is the provider's to say: those on the internet take it for this machine only.
    static func isValid(_ text: String) -> Bool {
        guard text.utf8.count <= bytesMax,
            text.unicodeScalars.allSatisfy({
                $0.value > 0x20 && $0.value < 0x7F && !"\"<>\\^`{|}#".unicodeScalars.contains($0)
            }),
            let url = URLComponents(string: text), let scheme = url.scheme?.lowercased(), url.user == nil
        else { return false }
        switch scheme {
        case "https", "http": return url.host?.isEmpty == false
        default: return !readByBrowsers.contains(scheme)
        }
    }

    private static let readByBrowsers: Set<String> = [
        "javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "ws", "wss", "ftp",
        "mailto", "tel", "sms", "intent", "content", "jar", "chrome",
    ]
}

/// Where sign-in by a provider may lead back to (RFC 9700 §4.1).
struct RedirectRules: Sendable {
    private let allowed: [String]

    /// Lists separated by commas or white space; together they allow what either allows.
    init(_ lists: String...) {
        allowed = lists.flatMap { $0.split { $0 == "," || $0.isWhitespace }.map(String.init) }
    }

    /// Anything may be led back to.
    var isOpen: Bool { allowed.isEmpty }

    /// What is wrong with a redirect URI; nil when it may be used.
    ///
    /// It must be one of the list as it stands, or begin with one that ends in `*`, which stands for the rest of a path.
    func problem(with uri: String) -> String? {
        guard RedirectURI.isValid(uri) else {
            return
                "must be an absolute URL of https, http or an application's own scheme, without a fragment"
        }
        guard !isOpen, !allowed.contains(where: { Self.allows($0, uri) }) else { return nil }
        return "is not among the allowed redirect URIs (oauth2.allowed_redirect_uris)"
    }

    /// What is wrong with a list of them, as a setting; nil when nothing is.
    static func problem(with list: String) -> String? {
        let isGood = RedirectRules(list).allowed.allSatisfy { pattern in
            guard pattern.hasSuffix("*") else { return RedirectURI.isValid(pattern) && !pattern.contains("*") }
            // Behind a host, `*` would be for every host that begins alike.
            let prefix = String(pattern.dropLast())
            return prefix.hasSuffix("/") && RedirectURI.isValid(prefix) && !prefix.contains("*")
                && URLComponents(string: prefix)?.path.hasPrefix("/") == true
        }
        return isGood ? nil : "must be a list of redirect URIs, of which any may end in /* for every path below it"
    }

    private static func allows(_ pattern: String, _ uri: String) -> Bool {
        guard pattern.hasSuffix("*") else { return pattern == uri }
        let prefix = pattern.dropLast()
        // A path that leads up again, however often somebody decodes it.
        let path = uri.dropFirst(prefix.count).prefix { $0 != "?" }.lowercased()
        return uri.hasPrefix(prefix) && !["..", "\\", "%2e", "%25"].contains(where: path.contains)
    }
}
