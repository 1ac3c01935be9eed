import CLibPQ

/// The values of a statement as libpq takes them: binary, one behind the other.
///
/// Binary, because a text with a NUL would be cut by the text format, and bytes need no escapes.
struct PostgresParameters {
    /// Of each value; 0 lets the server find the type of a NULL.
    private(set) var types: [Oid] = []
    private var bytes: [UInt8] = []
    private var ranges: [Range<Int>?] = []

    init(_ values: [Value]) {
        for value in values {
            let start = bytes.count
            switch value {
            case .null: types.append(0)
            case .text(let text):
                types.append(PostgresType.text)
                bytes.append(contentsOf: text.utf8)
            case .integer(let integer):
                types.append(PostgresType.int8)
                withUnsafeBytes(of: integer.bigEndian) { bytes.append(contentsOf: $0) }
            case .bool(let flag):
                types.append(PostgresType.bool)
                bytes.append(flag ? 1 : 0)
            case .blob(let blob):
                types.append(PostgresType.bytea)
                bytes.append(contentsOf: blob)
            }
            ranges.append(value == .null ? nil : start..<bytes.count)
        }
        // An empty value needs an address too, or it would be NULL.
        bytes.append(0)
    }

    /// Calls `body` with what libpq's functions take; the pointers hold during the call.
    func withPointers<T>(
        _ body: (
            _ count: Int32, _ values: [UnsafePointer<CChar>?], _ lengths: [Int32], _ formats: [Int32]
        ) -> T
    ) -> T {
        bytes.withUnsafeBytes { buffer in
            let base = buffer.bindMemory(to: CChar.self).baseAddress
            let pointers = ranges.map { range in range.flatMap { base?.advanced(by: $0.lowerBound) } }
            let lengths = ranges.map { Int32($0?.count ?? 0) }
            return body(Int32(ranges.count), pointers, lengths, Array(repeating: 1, count: ranges.count))
        }
    }
}

/// The object identifiers of the types that the portable schema uses.
enum PostgresType {
    static let bool: Oid = 16
    static let bytea: Oid = 17
    static let int8: Oid = 20
    static let int2: Oid = 21
    static let int4: Oid = 23
    static let text: Oid = 25
    static let numeric: Oid = 1700
}

extension Value {
    /// A field of a result in text format.
    init(_ result: OpaquePointer, row: Int32, column: Int32, type: Oid) {
        guard PQgetisnull(result, row, column) == 0, let start = PQgetvalue(result, row, column) else {
            self = .null
            return
        }
        let bytes = UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, row, column)))
        switch type {
        case PostgresType.bool: self = .bool(bytes.first == UInt8(ascii: "t"))
        case PostgresType.bytea: self = .blob(Self.bytes(hex: bytes.dropFirst(2)))
        case PostgresType.int2, PostgresType.int4, PostgresType.int8, PostgresType.numeric:
            // A sum of integers is a numeric, and whole; any other numeric stays text, which nothing reads as a number.
            let text = String(decoding: bytes, as: UTF8.self)
            self = Int64(text).map(Value.integer) ?? .text(text)
        default: self = .text(String(decoding: bytes, as: UTF8.self))
        }
    }

    /// `\x0aff` without its first two characters.
    private static func bytes(hex digits: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
        func value(_ digit: UInt8) -> UInt8 { digit < 58 ? digit &- 48 : digit &- 87 }
        return stride(from: digits.startIndex, to: digits.endIndex - 1, by: 2).map { index in
            value(digits[index]) << 4 | value(digits[index + 1])
        }
    }
}
