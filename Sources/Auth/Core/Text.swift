import Foundation

extension StringProtocol {
    /// Without white space at both ends.
    var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }

    /// An absolute URL of http or https with a host, and without user info.
    var isHTTPURL: Bool {
        guard let url = URLComponents(string: String(self)) else { return false }
        return (url.scheme == "https" || url.scheme == "http") && url.host?.isEmpty == false && url.user == nil
    }
}

package enum Version {
    package static let text = "0.1.0"
}
