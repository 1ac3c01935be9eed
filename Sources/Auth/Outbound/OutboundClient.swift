import Foundation

/// A request to somebody else's server.
struct OutboundRequest: Sendable {
    enum Method: String, Sendable {
        case get = "GET"
        case post = "POST"
    }

    let method: Method
    let url: String
    /// `Name: value`.
    let headers: Secret<[String]>
    let body: Secret<String>?

    static func get(_ url: String, headers: [String] = []) -> OutboundRequest {
        OutboundRequest(method: .get, url: url, headers: Secret(["Accept: application/json"] + headers), body: nil)
    }

    /// Sends a form.
    static func post(_ url: String, form: [(String, String)], headers: [String] = []) -> OutboundRequest {
        let type = "Content-Type: application/x-www-form-urlencoded"
        return OutboundRequest(
            method: .post,
            url: url,
            headers: Secret([type, "Accept: application/json"] + headers),
            body: Secret(FormEncoding.encode(form))
        )
    }
}

/// What it answered.
///
/// A redirect is an answer like any other: it is not followed.
struct OutboundAnswer: Sendable {
    let status: Int
    let body: [UInt8]
}

/// Why there is no answer.
enum OutboundFailure: Error, Equatable, CustomStringConvertible {
    /// The host has an address that is not public, and is not in `outbound.allowed_hosts`.
    case addressNotAllowed
    /// Plain HTTP to a host that is not in `outbound.allowed_hosts`, or no URL.
    case urlNotAllowed
    case timedOut
    case tooLarge
    /// For the log: what libcurl says of it.
    case unreachable(String)

    var description: String {
        switch self {
        case .addressNotAllowed:
            "its address is not a public one; if it is meant, add the host to outbound.allowed_hosts"
        case .urlNotAllowed: "its URL is not https; if it is meant, add the host to outbound.allowed_hosts"
        case .timedOut: "it did not answer within \(OutboundClient.timeoutMilliseconds / 1000) seconds"
        case .tooLarge: "its answer is larger than \(OutboundClient.bodyBytesMax / 1_048_576) MiB"
        case .unreachable(let text): text
        }
    }
}

/// The one way out to other servers by HTTP (design §3.10).
///
/// Limits of time and size; no redirects, cookies or proxies; certificates verified; addresses checked when they are
/// connected to, so that a name that changes its address in between gains nothing.
struct OutboundClient: Sendable {
    static let timeoutMilliseconds = 10_000
    static let bodyBytesMax = 1_048_576

    /// Throws ``OutboundFailure``, and `overloaded` when too many wait for the same host.
    let send: @Sendable (OutboundRequest, OutboundPolicy) async throws -> OutboundAnswer

    static let live = OutboundClient { request, policy in try await OutboundTransfers.shared.run(request, policy) }
}

/// Which hosts may be reached although they are private, or without TLS.
struct OutboundPolicy: Sendable {
    private let allowed: Set<String>

    init(_ settings: Settings) {
        allowed = Set(settings.text("outbound.allowed_hosts").split(separator: ",").map { $0.trimmed.lowercased() })
    }

    /// Where a request would go, and whether the operator has named the host.
    ///
    /// Throws ``OutboundFailure/urlNotAllowed``.
    func destination(_ url: String) throws -> (host: String, isNamed: Bool) {
        guard url.isHTTPURL, let parts = URLComponents(string: url), let host = parts.host?.lowercased() else {
            throw OutboundFailure.urlNotAllowed
        }
        let port = parts.port ?? (parts.scheme == "https" ? 443 : 80)
        let isNamed = allowed.contains(host) || allowed.contains("\(host):\(port)")
        guard parts.scheme == "https" || isNamed else { throw OutboundFailure.urlNotAllowed }
        return (host, isNamed)
    }
}

extension Services {
    /// Sends a request by the policy in force; throws like ``OutboundClient/send``.
    func fetch(_ request: OutboundRequest) async throws -> OutboundAnswer {
        try await outbound.send(request, OutboundPolicy(try await settings()))
    }
}

/// `application/x-www-form-urlencoded` and the queries of URLs: every byte but the unreserved ones (RFC 3986 §2.3) as
/// `%XX`.
enum FormEncoding {
    static func encode(_ pairs: [(String, String)]) -> String {
        pairs.map { "\(encode($0.0))=\(encode($0.1))" }.joined(separator: "&")
    }

    static func encode(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default: encoded += "%" + Hex.encode(CollectionOfOne(byte)).uppercased()
            }
        }
        return encoded
    }

    /// The URL with more parameters in its query.
    static func append(_ pairs: [(String, String)], to url: String) -> String {
        url + (url.contains("?") ? "&" : "?") + encode(pairs)
    }
}
