import OrderedCollections

/// Reads one JSON value, strictly by RFC 8259: UTF-8 without a byte order mark, no trailing commas, no lone surrogates,
/// no number that a double can't hold, no member twice, and no deeper than ``JSON/depthMax``.
///
/// Ours and not `JSONDecoder`: that one guesses UTF-16, takes trailing commas, forgets the order of members, and costs
/// a thrown error for each type it tries (docs/designs/001-own-router-json-and-jws.md).
struct JSONParser {
    /// Says nothing of the input: it may hold a password.
    struct Malformed: Error {}

    private let bytes: [UInt8]
    private var position = 0

    /// Throws ``Malformed``.
    static func parse(_ bytes: [UInt8]) throws(Malformed) -> JSON {
        var parser = JSONParser(bytes: bytes)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else { throw Malformed() }
        return value
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func value(depth: Int) throws(Malformed) -> JSON {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func object(depth: Int) throws(Malformed) -> JSON {
        guard depth <= JSON.depthMax else { throw Malformed() }
        position += 1
        var members: OrderedDictionary<String, JSON> = [:]
        skipSpace()
        if take("}") { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw Malformed() }
            let key = try string()
            skipSpace()
            guard take(":") else { throw Malformed() }
            let value = try value(depth: depth)
            // Two readers of one text must not see different values.
            guard members.updateValue(value, forKey: key) == nil else { throw Malformed() }
            skipSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw Malformed() }
        }
    }

    private mutating func array(depth: Int) throws(Malformed) -> JSON {
        guard depth <= JSON.depthMax else { throw Malformed() }
        position += 1
        var elements: [JSON] = []
        skipSpace()
        if take("]") { return .array(elements) }
        while true {
            elements.append(try value(depth: depth))
            skipSpace()
            if take("]") { return .array(elements) }
            guard take(",") else { throw Malformed() }
        }
    }

    private mutating func string() throws(Malformed) -> String {
        position += 1
        var text: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw Malformed() }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw Malformed()
            default: text.append(byte)
            }
        }
        throw Malformed()
    }

    private mutating func escape(into text: inout [UInt8]) throws(Malformed) {
        guard let byte = next else { throw Malformed() }
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
                guard take("\\"), take("u") else { throw Malformed() }
                let low = try codeUnit()
                guard (0xDC00..<0xE000).contains(low) else { throw Malformed() }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            // Half a pair is no scalar.
            guard let scalar = Unicode.Scalar(code) else { throw Malformed() }
            text.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
        default: throw Malformed()
        }
    }

    private mutating func codeUnit() throws(Malformed) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = next.flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }) else { throw Malformed() }
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
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let integer = Int64(text) { return .integer(integer) }
        guard let double = Double(text), double.isFinite else { throw Malformed() }
        return .number(double)
    }

    private mutating func digits() throws(Malformed) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw Malformed() }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws(Malformed) -> JSON {
        for byte in word.description.utf8 {
            guard next == byte else { throw Malformed() }
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
