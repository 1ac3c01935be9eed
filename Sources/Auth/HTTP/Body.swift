import HTTPTypes
import Hummingbird
import NIOCore
import OrderedCollections

/// Reads a JSON body.
enum Body {
    static let bytesMax = 1_048_576

    /// The members of the object. Throws `unsupported_media_type`, `too_large`, `malformed`.
    static func read(_ request: Request, isFormTypeAccepted: Bool) async throws -> OrderedDictionary<String, JSON> {
        try checkType(request.headers[.contentType], isFormTypeAccepted)
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > bytesMax { throw AuthError(.tooLarge) }
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: bytesMax)
        } catch is NIOTooManyBytesError {
            throw AuthError(.tooLarge)
        }
        guard buffer.readableBytes > 0 else { throw AuthError(.malformed, "The body is empty; send a JSON object.") }
        guard let json = JSON(parsing: Array(buffer.readableBytesView)) else {
            throw AuthError(.malformed, "The body is not valid JSON, or nests deeper than \(JSON.depthMax) levels.")
        }
        guard case .object(let members) = json else { throw AuthError(.malformed, "The body must be a JSON object.") }
        return members
    }

    /// A body without a type is taken for JSON.
    private static func checkType(_ header: String?, _ isFormTypeAccepted: Bool) throws {
        guard let header else { return }
        let type = header.prefix { $0 != ";" }.trimmed.lowercased()
        let isJSON = type == "application/json" || type.hasPrefix("application/") && type.hasSuffix("+json")
        guard isJSON || isFormTypeAccepted && type == "application/x-www-form-urlencoded" else { throw AuthError(.unsupportedMediaType) }
    }
}
