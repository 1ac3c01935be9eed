import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import OrderedCollections
import Storage

extension Responder {
    /// The one place where errors become refusals: what isn't one already is unexpected, or the database away.
    static func refusal(for error: any Error) -> AuthError {
        switch error {
        case let error as AuthError: error
        case HTTPParserError.headerOverflow: AuthError(.headTooLarge, cause: error)
        case is HTTPParserError: AuthError(.malformed, "The request is not valid HTTP.", cause: error)
        case let error as any HTTPResponseError:
            // Hummingbird's own, such as a connection that breaks off inside a body.
            AuthError(error.status.code == 413 ? .tooLarge : .malformed, cause: error)
        case BodyBudget.Refusal.process: AuthError(.overloaded, cause: error, retryAfterSeconds: 1)
        case BodyBudget.Refusal.address:
            AuthError(
                .rateLimited,
                "Your address is sending too many large bodies at once. Wait until some are done.",
                cause: error,
                retryAfterSeconds: 1
            )
        case DatabaseError.unavailable, DatabaseError.denied:
            AuthError(.unavailable, cause: error, retryAfterSeconds: 2)
        case DatabaseError.damaged:
            AuthError(
                .unavailable,
                "The database can't be read. The server's log says what its operator can do.",
                cause: error,
                retryAfterSeconds: 30
            )
        case DatabaseError.tooSlow(let seconds):
            AuthError(
                .unavailable,
                "This list took longer than \(Int(seconds.rounded())) seconds. Ask for less: narrow it down, or go on by cursor.",
                cause: error,
                retryAfterSeconds: 5
            )
        case DatabaseError.tooManySearches:
            AuthError(.unavailable, "Too many lists are asked for at once.", cause: error, retryAfterSeconds: 5)
        case is CancellationError:
            // The client has left: nobody reads the answer.
            AuthError(.unavailable, cause: error, retryAfterSeconds: 2)
        default: AuthError(.unexpected, cause: error)
        }
    }

    /// The one envelope of every refusal.
    static func render(_ error: AuthError, requestID: String) -> Response {
        let (headers, text) = envelope(error, requestID: requestID)
        return Response(
            status: HTTPResponse.Status(code: error.code.status),
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    /// The answer to a head that can't be read, which is the last one on its connection.
    func refuse(_ error: HTTPParserError) -> (head: HTTPResponse, body: ByteBuffer) {
        let refusal = Self.refusal(for: error)
        let (headers, text) = Self.envelope(refusal, requestID: requestIDs.next())
        let body = ByteBuffer(string: text)
        var head = HTTPResponse(status: HTTPResponse.Status(code: refusal.code.status), headerFields: headers)
        head.headerFields[.connection] = "close"
        head.headerFields[.contentLength] = String(body.readableBytes)
        return (head, body)
    }

    private static func envelope(_ error: AuthError, requestID: String) -> (HTTPFields, String) {
        var members: JSON = ["error": .string(error.message ?? error.code.text), "code": .string(error.code.rawValue)]
        var headers = HTTPFields()
        if error.code == .methodNotAllowed {
            headers[.allow] = error.details["allow"]
        } else if !error.details.isEmpty {
            members = members.merging(["details": JSON(error.details)])
        }
        members = members.merging(["request_id": .string(requestID)])
        headers[.contentType] = "application/json"
        if error.code.status == 401 {
            // RFC 6750 §3: a request without a token is told no error.
            let isTokenless = [.unauthenticated, .invalidCredentials, .reauthenticationRequired].contains(error.code)
            let reason = isTokenless ? "" : #", error="invalid_token""#
            headers[.wwwAuthenticate] = #"Bearer realm="latchkey""# + reason
        }
        ResponseHeaders.complete(&headers, requestID: requestID)
        return (headers, members.serialized)
    }
}
