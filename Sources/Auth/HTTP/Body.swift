import HTTPTypes
import Hummingbird
import NIOCore
import OrderedCollections

/// Reads a body: JSON, or where a route takes it a form.
enum Body {
    static let bytesMax = 1_048_576

    /// The members of the object.
    ///
    /// Throws `unsupported_media_type`, `too_large`, `malformed`.
    static func read(_ request: Request, for route: Route) async throws -> OrderedDictionary<String, JSON> {
        let isAbsent = route.isBodyOptional && request.headers[.contentType] == nil
        if !isAbsent { try checkType(request, route.isFormTypeAccepted) }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > bytesMax {
            throw AuthError(.tooLarge)
        }
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: bytesMax)
        } catch is NIOTooManyBytesError {
            throw AuthError(.tooLarge)
        }
        if isAbsent {
            guard buffer.readableBytes == 0 else { throw AuthError(.unsupportedMediaType) }
            return [:]
        }
        guard buffer.readableBytes > 0 else { throw AuthError(.malformed, "The body is empty; send a JSON object.") }
        let bytes = Array(buffer.readableBytesView)
        if isForm(request), bytes.first != UInt8(ascii: "{") { return try form(bytes) }
        guard let json = JSON(parsing: bytes) else {
            throw AuthError(.malformed, "The body is not valid JSON, or nests deeper than \(JSON.depthMax) levels.")
        }
        guard case .object(let members) = json else { throw AuthError(.malformed, "The body must be a JSON object.") }
        return members
    }

    private static func checkType(_ request: Request, _ isFormTypeAccepted: Bool) throws {
        let type = mediaType(of: request) ?? ""
        let isJSON = type == "application/json" || type.hasPrefix("application/") && type.hasSuffix("+json")
        guard isJSON || isFormTypeAccepted && isForm(request) else { throw AuthError(.unsupportedMediaType) }
    }

    private static func isForm(_ request: Request) -> Bool {
        mediaType(of: request) == "application/x-www-form-urlencoded"
    }

    private static func mediaType(of request: Request) -> String? {
        request.headers[.contentType].map { $0.prefix { $0 != ";" }.trimmed.lowercased() }
    }

    /// What an HTML form sends, each value a text.
    private static func form(_ bytes: [UInt8]) throws -> OrderedDictionary<String, JSON> {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw AuthError(.malformed, "The form is not UTF-8.")
        }
        return OrderedDictionary(
            uniqueKeysWithValues: try CanonicalRequest.pairs(text[...]).sorted { $0.key < $1.key }.map {
                ($0.key, JSON.string($0.value))
            }
        )
    }
}
