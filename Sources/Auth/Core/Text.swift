import Foundation

extension StringProtocol {
    /// Without white space at both ends.
    var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }

    /// Lower case in canonical composition: what decides whether two names are one.
    ///
    /// Composed last, since lower case can come apart again.
    var folded: String { lowercased().precomposedStringWithCanonicalMapping }

    /// The host of a URL; nil when it has none.
    var urlHost: String? {
        URLComponents(string: String(self))?.host.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The host of a URL, with its port where there is one; nil when it has no host.
    var urlAuthority: String? {
        urlHost.map { host in URLComponents(string: String(self))?.port.map { "\(host):\($0)" } ?? host }
    }

    /// An absolute URL of http or https with a host, and without user info.
    var isHTTPURL: Bool {
        // `URLComponents` mends what it can; a stored URL must be one as it stands (RFC 3986).
        guard
            unicodeScalars.allSatisfy({
                $0.value > 0x20 && $0.value < 0x7F && !"\"<>\\^`{|}".unicodeScalars.contains($0)
            }),
            let url = URLComponents(string: String(self))
        else { return false }
        return (url.scheme == "https" || url.scheme == "http") && url.host?.isEmpty == false && url.user == nil
    }

    /// What requests can be sent to, and a query added to: without a fragment (RFC 6749 §3.1).
    var isEndpointURL: Bool { isHTTPURL && !contains("#") }
}

package enum Version {
    package static let text = "0.1.0"
}
