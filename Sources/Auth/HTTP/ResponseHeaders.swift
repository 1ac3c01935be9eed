import HTTPTypes
import Hummingbird

/// What every answer carries.
enum ResponseHeaders {
    static func complete(_ headers: inout HTTPFields, requestID: String) {
        headers[.xRequestID] = requestID
        headers[.xContentTypeOptions] = "nosniff"
        headers[.referrerPolicy] = "no-referrer"
        headers[.xFrameOptions] = "DENY"
        if headers[.cacheControl] == nil { headers[.cacheControl] = "no-store" }
    }
}

extension HTTPField.Name {
    static let xRequestID = HTTPField.Name(known: "X-Request-Id")
    static let referrerPolicy = HTTPField.Name(known: "Referrer-Policy")
    static let xFrameOptions = HTTPField.Name(known: "X-Frame-Options")
    static let xMFACode = HTTPField.Name(known: "X-MFA-Code")
    static let xForwardedFor = HTTPField.Name(known: "X-Forwarded-For")

    /// For names that are written here and are tokens by sight.
    private init(known name: StaticString) {
        guard let field = HTTPField.Name(name.description) else { preconditionFailure("not a field name: \(name)") }
        self = field
    }
}

/// Which browsers' pages may call.
///
/// Never with cookies: there are none.
enum CORS {
    private static let preflightSeconds = "600"

    /// The answer to a preflight request (Fetch standard).
    static func preflight() -> Response {
        var headers = HTTPFields()
        headers[.accessControlAllowMethods] = "GET, POST, PUT, PATCH, DELETE"
        headers[.accessControlAllowHeaders] = "Authorization, Content-Type, X-MFA-Code"
        headers[.accessControlMaxAge] = preflightSeconds
        return Response(status: .noContent, headers: headers)
    }

    static func isPreflight(_ request: Request) -> Bool {
        request.method == .options && request.headers[.origin] != nil
            && request.headers[.accessControlRequestMethod] != nil
    }

    static func allow(_ request: Request, _ settings: Settings, _ response: inout Response) {
        guard let origin = request.headers[.origin].flatMap({ TextGate.text($0, as: .headerValue) }) else { return }
        if let allowed = settings.corsOrigins {
            response.headers[.vary] = "Origin"
            guard allowed.contains(origin) else { return }
            response.headers[.accessControlAllowOrigin] = origin
        } else {
            response.headers[.accessControlAllowOrigin] = "*"
        }
        response.headers[.accessControlExposeHeaders] = "X-Request-Id, Retry-After, WWW-Authenticate"
    }
}
