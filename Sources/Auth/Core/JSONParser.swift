import OrderedCollections

/// What a document may cost its reader.
///
/// Each bound holds before anything is hashed, compared or kept.
struct JSONBudget: Sendable {
    /// Objects and arrays inside each other.
    let depthMax: Int
    /// Values of all kinds.
    let nodesMax: Int
    /// Of one object.
    let membersMax: Int
    let nameBytesMax: Int
    let numberBytesMax: Int
    /// Whether names and strings pass the text gate.
    let isTextChecked: Bool

    /// For what others have written: request bodies, tokens, providers' documents, files.
    static let outside = JSONBudget(
        depthMax: 32,
        nodesMax: 10_000,
        membersMax: 1000,
        nameBytesMax: TextKind.memberName.bytesMax,
        numberBytesMax: 128,
        isTextChecked: true
    )
    /// For what this server has written, also in versions that had no bounds.
    static let stored = JSONBudget(
        depthMax: 64,
        nodesMax: .max,
        membersMax: .max,
        nameBytesMax: .max,
        numberBytesMax: .max,
        isTextChecked: false
    )
}

/// Reads one JSON value, strictly by RFC 8259: UTF-8 without a byte order mark, no trailing commas, no lone surrogates,
/// no number that a double can't hold, no member twice, and nothing beyond the ``JSONBudget``.
///
/// Ours and not `JSONDecoder`: that one guesses UTF-16, takes trailing commas, forgets the order of members, and costs
/// a thrown error for each type it tries (docs/designs/001-own-router-json-and-jws.md).
struct JSONParser {
    /// Why a document is refused; it says nothing of the input, which may hold a password.
    enum Malformed: Error {
        case syntax
        case depth
        case nodes
        case members
        case name
        case number
        /// More combining marks in a row than Stream-Safe Text allows.
        case marks
    }

    private let bytes: [UInt8]
    private let budget: JSONBudget
    private var position = 0
    private var nodes = 0

    /// Throws ``Malformed``.
    static func parse(_ bytes: [UInt8], within budget: JSONBudget) throws(Malformed) -> JSON {
        var parser = JSONParser(bytes: bytes, budget: budget)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else { throw .syntax }
        return value
    }

    private init(bytes: [UInt8], budget: JSONBudget) {
        self.bytes = bytes
        self.budget = budget
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func value(depth: Int) throws(Malformed) -> JSON {
        nodes += 1
        guard nodes <= budget.nodesMax else { throw .nodes }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string(bytesMax: .max))
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func object(depth: Int) throws(Malformed) -> JSON {
        guard depth <= budget.depthMax else { throw .depth }
        position += 1
        var members: JSON.Members = [:]
        skipSpace()
        if take("}") { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw .syntax }
            guard members.count < budget.membersMax else { throw .members }
            let name = MemberName(try string(bytesMax: budget.nameBytesMax))
            skipSpace()
            guard take(":") else { throw .syntax }
            let value = try value(depth: depth)
            // Two readers of one text must not see different values.
            guard members.updateValue(value, forKey: name) == nil else { throw .syntax }
            skipSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw .syntax }
        }
    }

    private mutating func array(depth: Int) throws(Malformed) -> JSON {
        guard depth <= budget.depthMax else { throw .depth }
        position += 1
        var elements: [JSON] = []
        skipSpace()
        if take("]") { return .array(elements) }
        while true {
            elements.append(try value(depth: depth))
            skipSpace()
            if take("]") { return .array(elements) }
            guard take(",") else { throw .syntax }
        }
    }

    /// A name or a string; one without escapes, as nearly all are, is taken in one piece.
    private mutating func string(bytesMax: Int) throws(Malformed) -> String {
        position += 1
        let start = position
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        if next == UInt8(ascii: "\"") {
            defer { position += 1 }
            return try text(bytes[start..<position], bytesMax: bytesMax)
        }
        var unescaped = Array(bytes[start..<position])
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return try text(unescaped[...], bytesMax: bytesMax)
            case UInt8(ascii: "\\"): try escape(into: &unescaped)
            case 0..<0x20: throw .syntax
            default: unescaped.append(byte)
            }
        }
        throw .syntax
    }

    private func text(_ bytes: ArraySlice<UInt8>, bytesMax: Int) throws(Malformed) -> String {
        guard bytes.count <= bytesMax else { throw .name }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .syntax }
        guard !budget.isTextChecked || StreamSafeText.holds(text) else { throw .marks }
        return text
    }

    private mutating func escape(into text: inout [UInt8]) throws(Malformed) {
        guard let byte = next else { throw .syntax }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try codeUnit()
            if (0xD800..<0xDC00).contains(code) {
                guard take("\\"), take("u") else { throw .syntax }
                let low = try codeUnit()
                guard (0xDC00..<0xE000).contains(low) else { throw .syntax }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            // Half a pair is no scalar.
            guard let scalar = Unicode.Scalar(code) else { throw .syntax }
            text.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
        default: throw .syntax
        }
    }

    private mutating func codeUnit() throws(Malformed) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = next.flatMap(Hex.anyCaseValue) else { throw .syntax }
            position += 1
            code = code << 4 | UInt32(digit)
        }
        return code
    }

    // -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
    private mutating func number() throws(Malformed) -> JSON {
        let start = position
        _ = take("-")
        if !take("0") { try digits() }
        var isInteger = true
        if take(".") {
            isInteger = false
            try digits()
        }
        if take("e") || take("E") {
            isInteger = false
            if !take("+") { _ = take("-") }
            try digits()
        }
        guard position - start <= budget.numberBytesMax else { throw .number }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let integer = Int64(text) { return .integer(integer) }
        guard let double = Double(text), double.isFinite else { throw .syntax }
        return .number(double)
    }

    private mutating func digits() throws(Malformed) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw .syntax }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws(Malformed) -> JSON {
        for byte in word.description.utf8 {
            guard next == byte else { throw .syntax }
            position += 1
        }
        return value
    }

    private mutating func take(_ sign: Unicode.Scalar) -> Bool {
        guard let byte = next, byte == UInt8(ascii: sign) else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }
}
