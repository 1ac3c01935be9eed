import HTTPTypes
import Hummingbird
import NIOCore
import OrderedCollections

/// A request's body: JSON, or where a route takes it a form.
struct Body: Sendable {
    static let bytesMax = 1_048_576

    private let bytes: [UInt8]
    private let isForm: Bool
    /// Nothing was sent, where nothing need be.
    private let isAbsent: Bool

    /// Whether parsing it would keep others waiting.
    var isLarge: Bool { bytes.count > LargeBodies.bytesMin }

    /// Reads it from the connection.
    ///
    /// Throws `unsupported_media_type`, `too_large`, `malformed`.
    init(of request: Request, for route: Route) async throws {
        isAbsent = route.isBodyOptional && request.headers[.contentType] == nil
        if !isAbsent { try Self.checkType(request, route.isFormTypeAccepted) }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > Self.bytesMax {
            throw AuthError(.tooLarge)
        }
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: Self.bytesMax)
        } catch is NIOTooManyBytesError {
            throw AuthError(.tooLarge)
        }
        if isAbsent {
            guard buffer.readableBytes == 0 else { throw AuthError(.unsupportedMediaType) }
        } else if buffer.readableBytes == 0 {
            throw AuthError(.malformed, "The body is empty; send a JSON object.")
        }
        bytes = Array(buffer.readableBytesView)
        isForm = try !isAbsent && Self.isForm(request) && bytes.first != UInt8(ascii: "{")
    }

    /// The members of the object.
    ///
    /// Throws `malformed`.
    func members() throws -> JSON.Members {
        if isAbsent { return [:] }
        if isForm { return try Self.form(bytes) }
        do throws(JSONParser.Malformed) {
            let json = try JSONParser.parse(bytes, within: .outside)
            if case .object(let members) = json { return members }
        } catch {
            throw AuthError(.malformed, error.sentence(of: .outside))
        }
        throw AuthError(.malformed, "The body must be a JSON object.")
    }

    private static func checkType(_ request: Request, _ isFormTypeAccepted: Bool) throws {
        let type = try mediaType(of: request) ?? ""
        let isJSON = type == "application/json" || type.hasPrefix("application/") && type.hasSuffix("+json")
        guard try isJSON || isFormTypeAccepted && isForm(request) else { throw AuthError(.unsupportedMediaType) }
    }

    private static func isForm(_ request: Request) throws -> Bool {
        try mediaType(of: request) == "application/x-www-form-urlencoded"
    }

    private static func mediaType(of request: Request) throws -> String? {
        try request.text(of: .contentType, else: .unsupportedMediaType).map {
            $0.prefix { $0 != ";" }.trimmed.lowercased()
        }
    }

    /// What an HTML form sends, each value a text.
    private static func form(_ bytes: [UInt8]) throws -> JSON.Members {
        guard let text = TextGate.text(bytes, as: .form) else {
            throw AuthError(.malformed, "The form is not ASCII. Percent-encode its names and values.")
        }
        return OrderedDictionary(
            uniqueKeysWithValues: try CanonicalRequest.pairs(text[...]).sorted { $0.key < $1.key }.map {
                (MemberName($0.key), JSON.string($0.value))
            }
        )
    }
}

extension JSONParser.Malformed {
    /// What is wrong with a body, and how to mend it.
    fileprivate func sentence(of budget: JSONBudget) -> String {
        switch self {
        case .syntax: "The body is not valid JSON."
        case .depth: "The body nests objects and lists deeper than \(budget.depthMax) levels."
        case .nodes: "The body has more than \(budget.nodesMax) values. Send fewer in one request."
        case .members: "An object of the body has more than \(budget.membersMax) members."
        case .name: "The body has a member whose name is longer than \(budget.nameBytesMax) bytes."
        case .number: "The body has a number of more than \(budget.numberBytesMax) digits."
        case .marks: "The body has a text with more than \(StreamSafeText.nonStartersMax) combining marks in a row."
        }
    }
}

extension Request {
    /// The value of a header that the server looks at; nil when it wasn't sent.
    ///
    /// Throws `refusal` for one that is not ASCII or too long.
    func text(of name: HTTPField.Name, else refusal: AuthError.Code = .malformed) throws -> String? {
        guard let value = headers[name] else { return nil }
        guard let text = TextGate.text(value, as: .headerValue) else {
            let limit = TextKind.headerValue.bytesMax
            guard refusal == .malformed else { throw AuthError(refusal) }
            throw AuthError(refusal, "The header \(name.rawName) must be ASCII, of at most \(limit) bytes.")
        }
        return text
    }
}
