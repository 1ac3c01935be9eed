import OrderedCollections

/// A part of a list: `page` from 1, `perPage` 30 by default and 500 at most.
struct Paging: Sendable {
    static let sizeDefault = 30
    static let sizeMax = 500
    static let numberMax = 1_000_000

    let number: Int
    let size: Int

    var offset: Int { (number - 1) * size }

    /// Throws `validation_failed` for what isn't a number in range.
    init(query: [String: String]) throws {
        func number(_ key: String, _ standard: Int, max: Int) throws -> Int {
            guard let text = query[key] else { return standard }
            guard let number = Int(text), (1...max).contains(number) else {
                throw AuthError.validation([key: "must be a number from 1 to \(max)"])
            }
            return number
        }
        self.number = try number("page", 1, max: Self.numberMax)
        size = try number("perPage", Self.sizeDefault, max: Self.sizeMax)
    }
}

/// One page of a list, with how many there are in all.
struct PageOf<Element: Sendable>: Sendable {
    let elements: [Element]
    let page: Paging
    let total: Int

    func answer(_ json: (Element) -> JSON) -> Answer {
        var answer = Answer.data(.array(elements.map(json)))
        answer.extra = [
            "page": .integer(Int64(page.number)), "perPage": .integer(Int64(page.size)),
            "totalItems": .integer(Int64(total)),
            "totalPages": .integer(Int64((total + page.size - 1) / page.size)),
        ]
        return answer
    }
}
