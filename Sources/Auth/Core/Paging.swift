import OrderedCollections
import Storage

/// Which part of a list is asked for: `page` from 1 or `cursor`, and `perPage`, 30 by default and 500 at most.
struct Paging: Sendable {
    static let sizeDefault = 30
    static let sizeMax = 500
    static let numberMax = 1_000_000

    enum Place: Sendable, Equatable {
        /// Counted from 1; the answer tells how many there are in all.
        case page(Int)
        /// Behind the element that a `next_cursor` names; from the beginning when it is empty. Nothing is counted.
        case cursor(String)
    }

    let place: Place
    let size: Int

    /// Throws `validation_failed` for what isn't a number in range.
    init(query: [String: String]) throws {
        func number(_ key: String, _ standard: Int, max: Int) throws -> Int {
            guard let text = query[key] else { return standard }
            guard text.utf8.count <= 20, let number = Int(text), (1...max).contains(number) else {
                throw AuthError.validation([key: "must be a number from 1 to \(max)"])
            }
            return number
        }
        size = try number("perPage", Self.sizeDefault, max: Self.sizeMax)
        guard let cursor = query["cursor"] else {
            place = .page(try number("page", 1, max: Self.numberMax))
            return
        }
        guard query["page"] == nil else { throw AuthError.validation(["page": "can't be combined with cursor"]) }
        place = .cursor(cursor)
    }

    /// For the documents of routes that list something.
    static let members: [Member] = [
        .optional("page", .integer), .optional("perPage", .integer), .optional("cursor", .text),
    ]
}

/// One part of a list.
struct PageOf<Element: Sendable>: Sendable {
    /// Where a numbered page stands.
    struct Position: Sendable {
        let number: Int
        /// How many elements the list has in all.
        let total: Int
    }

    let elements: [Element]
    let size: Int
    /// Nil for a part that was asked for by a cursor.
    let position: Position?
    /// What `cursor` gives the elements behind these; nil when there are none.
    let next: String?

    /// The same part with other elements in their places.
    func map<Other: Sendable>(_ other: (Element) throws -> Other) rethrows -> PageOf<Other> {
        PageOf<Other>(
            elements: try elements.map(other),
            size: size,
            position: position.map { .init(number: $0.number, total: $0.total) },
            next: next
        )
    }

    func answer(_ json: (Element) -> JSON) -> Answer {
        var answer = Answer.data(.array(elements.map(json)))
        if let position { answer.extra["page"] = .integer(Int64(position.number)) }
        answer.extra["perPage"] = .integer(Int64(size))
        if let position {
            answer.extra["totalItems"] = .integer(Int64(position.total))
            answer.extra["totalPages"] = .integer(Int64((position.total + size - 1) / size))
        }
        answer.extra["next_cursor"] = .optional(next)
        return answer
    }
}

/// Names the last element of a part of a list, so that the next part begins behind it whatever came and went meanwhile.
///
/// It is bound to its list and filter by a keyed digest: a cursor of another list, or one that was made up, is refused.
struct Cursor: Sendable {
    static let textBytesMax = 1024
    private static let tagByteCount = 12

    let list: String
    let key: SealingKey

    /// The text that clients send back.
    func text(of position: [Value]) -> String {
        let parts = position.map { value -> JSON in
            switch value {
            case .integer(let integer): .integer(integer)
            case .text(let text): .string(text)
            case .null, .bool, .blob: .null
            }
        }
        let content = JSON.array(parts).serialized
        return Base64URL.encode(tag(content) + Array(content.utf8))
    }

    /// Throws `validation_failed` for what ``text(of:)`` has not made for this list.
    func position(_ text: String) throws -> [Value] {
        guard text.utf8.count <= Self.textBytesMax, let bytes = Base64URL.decode(text),
            let content = TextGate.text(bytes.dropFirst(Self.tagByteCount), as: .formValue),
            tag(content) == Array(bytes.prefix(Self.tagByteCount)), case .array(let parts)? = JSON(parsing: content)
        else {
            throw AuthError.validation(["cursor": "must be a next_cursor of this list, with the same filter"])
        }
        return parts.map { part in
            switch part {
            case .integer(let integer): .integer(integer)
            case .string(let text): .text(text)
            case .null, .bool, .number, .array, .object: .null
            }
        }
    }

    private func tag(_ content: String) -> [UInt8] {
        Array(key.digest(of: content, place: "cursor:\(list)").bytes.prefix(Self.tagByteCount))
    }
}
