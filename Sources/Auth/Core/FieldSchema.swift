import OrderedCollections

/// The fields of a collection's records, with the rules for the implicit `email` and `username`.
struct FieldSchema: Sendable, Equatable {
    static let fieldsMax = 100
    static let email = "email"
    static let username = "username"

    /// As the admin gave them, in that order.
    let fields: [Field]

    static let empty = FieldSchema(fields: [])

    private init(fields: [Field]) {
        self.fields = fields
    }

    /// A definition that can't be: where, and why.
    struct Invalid: Error {
        let details: [String: String]

        init(_ place: String, _ message: String) {
            details = [place: message]
        }
    }

    /// Of the whole definition, as JSON.
    static let bytesMax = 65_536

    /// Parses what an admin sends, or what is stored; throws ``Invalid``.
    init(json: JSON, isStored: Bool = false) throws {
        guard case .array(let elements) = json else { throw Invalid("fields", "must be a list") }
        guard elements.count <= Self.fieldsMax else {
            throw Invalid("fields", "must be at most \(Self.fieldsMax) fields")
        }
        fields = try elements.enumerated().map { index, element in
            try Field(json: element, place: "fields[\(index)]", isStored: isStored)
        }
        guard isStored || self.json.serialized.utf8.count <= Self.bytesMax else {
            throw Invalid("fields", "must be at most \(Self.bytesMax) bytes in all")
        }
        for (index, field) in fields.enumerated() where fields[..<index].contains(where: { $0.name == field.name }) {
            throw Invalid("fields[\(index)].name", "is used twice")
        }
    }

    var json: JSON { .array(fields.map(\.json)) }

    subscript(name: String) -> Field? { fields.first { $0.name == name } }

    /// Without the implicit ones.
    var own: [Field] { fields.filter { $0.name != Self.email && $0.name != Self.username } }
}

/// One field: its type and its constraints.
struct Field: Sendable, Equatable {
    let name: String
    let type: FieldType
    var isRequired = false
    /// Inclusive: characters of a text, email or url, the value of a number, a date, choices of a multiple select,
    /// bytes of a json.
    var min: JSON?
    var max: JSON?
    /// A text must contain a match of it; anchor it with `^…$` to bind the whole.
    var pattern: Pattern?
    /// The choices of a select.
    var values: [String] = []
    /// A select that takes a list.
    var isMultiple = false
    /// No two records of the collection share its value.
    var isUnique = false
    /// Left out of de-identified views.
    var isIdentifying = false

    static let textCountMax = 5000
    /// Before any character is counted.
    static let textBytesMax = RecordInput.dataBytesMax
    static let choicesMax = 200
    static let choiceBytesMax = 500
    static let jsonBytesMax = 16_384

    /// Parses one element of `fields`; throws ``FieldSchema/Invalid`` naming the member.
    init(json: JSON, place: String, isStored: Bool = false) throws {
        guard case .object(let members) = json else { throw FieldSchema.Invalid(place, "must be an object") }
        guard let name = members["name"]?.text, Self.isName(name), name.utf8.first != UInt8(ascii: "_") else {
            throw FieldSchema.Invalid("\(place).name", "must be 1 to 64 letters, digits or _, beginning with a letter")
        }
        guard !User.reservedKeys.contains(name) else { throw FieldSchema.Invalid("\(place).name", "is reserved") }
        guard let type = members["type"]?.text.flatMap(FieldType.init) else {
            throw FieldSchema.Invalid(
                "\(place).type",
                "must be one of: \(FieldType.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        self.name = name
        self.type = type
        for (key, value) in members { try set(key.text, to: value, at: "\(place).\(key)", isStored) }
        try checkTogether(place)
    }

    private mutating func set(_ key: String, to value: JSON, at place: String, _ isStored: Bool) throws {
        func flag() throws -> Bool {
            guard case .bool(let flag) = value else { throw FieldSchema.Invalid(place, "must be true or false") }
            return flag
        }
        if value == .null { return }
        switch key {
        case "name", "type": break
        case "required": isRequired = try flag()
        case "unique": isUnique = try flag()
        case "multiple": isMultiple = try flag()
        case "identifying": isIdentifying = try flag()
        case "min": min = try type.bound(value, at: place)
        case "max": max = try type.bound(value, at: place)
        case "pattern":
            guard let text = value.text, text.utf8.count <= Pattern.bytesMax else {
                throw FieldSchema.Invalid(place, "must be a regular expression of at most \(Pattern.bytesMax) bytes")
            }
            do throws(Pattern.Unsupported) {
                pattern = isStored ? Pattern(stored: text) : try Pattern(text)
            } catch {
                throw FieldSchema.Invalid(place, "must be a regular expression in RE2 syntax: \(error.reason)")
            }
        case "values":
            guard case .array(let elements) = value, case let texts = elements.compactMap(\.text),
                texts.count == elements.count,
                texts.count <= Self.choicesMax, Set(texts).count == texts.count
            else { throw FieldSchema.Invalid(place, "must be a list of at most \(Self.choicesMax) different texts") }
            guard texts.allSatisfy({ $0.utf8.count <= Self.choiceBytesMax }) else {
                throw FieldSchema.Invalid(place, "must be texts of at most \(Self.choiceBytesMax) bytes")
            }
            values = texts
        default: throw FieldSchema.Invalid(place, "is not a member of a field")
        }
    }

    private func checkTogether(_ place: String) throws {
        if name == FieldSchema.email && type != .email { throw FieldSchema.Invalid("\(place).type", "must be email") }
        if name == FieldSchema.username && type != .text { throw FieldSchema.Invalid("\(place).type", "must be text") }
        if (type == .select) == values.isEmpty {
            throw FieldSchema.Invalid("\(place).values", "must be there for a select, and only for one")
        }
        if isEmptyRange { throw FieldSchema.Invalid("\(place).max", "must not be less than min") }
        if isMultiple && type != .select { throw FieldSchema.Invalid("\(place).multiple", "belongs to a select") }
        if pattern != nil && ![.text, .email, .url].contains(type) {
            throw FieldSchema.Invalid("\(place).pattern", "belongs to a text, email or url")
        }
        if isUnique && (type == .json || type == .bool || isMultiple) {
            throw FieldSchema.Invalid("\(place).unique", "can't be asked of a json, a bool or a multiple select")
        }
    }

    private var isEmptyRange: Bool {
        if let least = min?.double, let most = max?.double { return most < least }
        guard let least = min?.text.flatMap(Timestamp.init(parsing:)),
            let most = max?.text.flatMap(Timestamp.init(parsing:))
        else {
            return false
        }
        return most < least
    }

    static let nameBytesMax = 64

    /// Letters and digits of ASCII and `_`, not beginning with a digit.
    ///
    /// Looked at byte by byte, since a body may bring a thousand names.
    static func isName(_ text: String) -> Bool {
        guard (1...nameBytesMax).contains(text.utf8.count), let first = text.utf8.first else { return false }
        return !isDigit(first) && text.utf8.allSatisfy { isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "_") }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    var json: JSON {
        [
            "name": .string(name), "type": .string(type.rawValue), "required": .bool(isRequired), "min": min ?? .null,
            "max": max ?? .null, "pattern": .optional(pattern?.text), "values": .array(values.map(JSON.string)),
            "multiple": .bool(isMultiple), "unique": .bool(isUnique), "identifying": .bool(isIdentifying),
        ]
    }
}

enum FieldType: String, Sendable, CaseIterable {
    case text
    case number
    case bool
    case email
    case url
    case date
    case select
    case json

    /// Checks that a `min` or `max` is of the kind that this type compares with.
    func bound(_ value: JSON, at place: String) throws -> JSON {
        switch (self, value) {
        case (.bool, _): throw FieldSchema.Invalid(place, "has no meaning for a bool")
        case (.number, .integer), (.number, .number): return value
        case (.date, .string(let text)) where Timestamp(parsing: text) != nil: return value
        case (.text, .integer(0...)), (.email, .integer(0...)), (.url, .integer(0...)), (.json, .integer(0...)):
            return value
        case (.select, .integer(0...)): return value
        case (.number, _): throw FieldSchema.Invalid(place, "must be a number")
        case (.date, _): throw FieldSchema.Invalid(place, "must be a date such as 2026-01-31")
        case (.text, _), (.email, _), (.url, _), (.json, _), (.select, _):
            throw FieldSchema.Invalid(place, "must be a whole number, 0 or more")
        }
    }
}
