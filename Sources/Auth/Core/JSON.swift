import OrderedCollections

/// A JSON value (RFC 8259).
///
/// Bodies are decoded once into it, and answers are written from it.
enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object(Members)

    /// The members of an object, in their order.
    typealias Members = OrderedDictionary<MemberName, JSON>

    /// Nil when the bytes are not one JSON value within `budget`, read strictly by ``JSONParser``.
    init?(parsing bytes: [UInt8], within budget: JSONBudget = .outside) {
        guard let value = try? JSONParser.parse(bytes, within: budget) else { return nil }
        self = value
    }

    init?(parsing text: String) {
        self.init(parsing: Array(text.utf8))
    }

    /// Reads what this server has written itself, such as a column of its database.
    init?(stored text: String) {
        self.init(parsing: Array(text.utf8), within: .stored)
    }

    subscript(name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members[name]
    }

    var text: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    /// True when a string anywhere in it holds U+0000, which neither PostgreSQL nor C libraries can carry.
    var containsNUL: Bool {
        switch self {
        case .null, .bool, .integer, .number: false
        case .string(let text): text.utf8.contains(0)
        case .array(let elements): elements.contains(where: \.containsNUL)
        case .object(let members): members.contains { $0.key.text.utf8.contains(0) || $0.value.containsNUL }
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral {
    init(stringLiteral text: String) { self = .string(text) }
    init(booleanLiteral flag: Bool) { self = .bool(flag) }
    init(integerLiteral integer: Int64) { self = .integer(integer) }
}

extension JSON: ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral {
    init(arrayLiteral elements: JSON...) { self = .array(elements) }

    init(dictionaryLiteral members: (MemberName, JSON)...) {
        self = .object(OrderedDictionary(members) { _, last in last })
    }
}

extension JSON {
    /// Nil becomes null.
    static func optional(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }

    /// The object with the members of `other` behind its own; `other` can't replace a member.
    func merging(_ other: Members) -> JSON {
        guard case .object(let members) = self else { return self }
        return .object(members.merging(other) { own, _ in own })
    }

    /// As compact text.
    var serialized: String {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the compact text.
    ///
    /// Ours and not `JSONEncoder`'s, since every answer of a hot path is written by it
    /// (docs/designs/001-own-router-json-and-jws.md).
    func write(to bytes: inout [UInt8]) {
        switch self {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
        case .integer(let integer): bytes.append(contentsOf: integer.description.utf8)
        case .number(let number): bytes.append(contentsOf: (number.isFinite ? number.description : "null").utf8)
        case .string(let text): Self.write(text, to: &bytes)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                element.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.write(member.key.text, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    /// Appends a text in quotes.
    ///
    /// Runs of bytes that need no escape, as nearly all are, go over together.
    static func write(_ text: String, to bytes: inout [UInt8]) {
        var text = text
        bytes.append(UInt8(ascii: "\""))
        text.withUTF8 { utf8 in
            var start = 0
            for (index, byte) in utf8.enumerated()
            where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F {
                bytes.append(contentsOf: utf8[start..<index])
                writeEscape(of: byte, to: &bytes)
                start = index + 1
            }
            bytes.append(contentsOf: utf8[start...])
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func writeEscape(of byte: UInt8, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        default: bytes.append(contentsOf: "u00\(Hex.encode(CollectionOfOne(byte)))".utf8)
        }
    }
}

/// The name of a member, compared as bytes: two readers of a document must agree on which names are equal,
/// and Swift's own comparison of texts normalises them first.
struct MemberName: Hashable, Comparable, Sendable {
    let text: String

    init(_ text: String) {
        self.text = text
    }

    static func == (left: MemberName, right: MemberName) -> Bool {
        // Different texts have different bytes; of equal ones the bytes may differ all the same.
        guard left.text == right.text else { return false }
        var (left, right) = (left.text, right.text)
        return left.withUTF8 { left in right.withUTF8 { right in left.elementsEqual(right) } }
    }

    static func < (left: MemberName, right: MemberName) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    /// Of the text: names of the same bytes have the same hash, and the gate bounds what it costs.
    func hash(into hasher: inout Hasher) { text.hash(into: &hasher) }
}

extension MemberName: ExpressibleByStringInterpolation {
    init(stringLiteral text: String) { self.init(text) }
}

extension MemberName: CustomStringConvertible {
    var description: String { text }
}

extension OrderedDictionary where Key == MemberName {
    subscript(name: String) -> Value? {
        get { self[MemberName(name)] }
        set { self[MemberName(name)] = newValue }
    }
}
