import Storage

/// A lower-case UUID (version 7, RFC 9562) that names one kind of thing: a user's id can't be passed where a session's
/// is meant.
struct Identifier<Subject>: RawRepresentable, Hashable, Sendable, SQLConvertible, CustomStringConvertible {
    let rawValue: String

    /// Nil unless the text is a canonical lower-case UUID.
    init?(rawValue: String) {
        let text = Array(rawValue.utf8)
        guard text.count == 36 else { return nil }
        for (index, byte) in text.enumerated() {
            switch (index, byte) {
            case (8, UInt8(ascii: "-")), (13, UInt8(ascii: "-")), (18, UInt8(ascii: "-")), (23, UInt8(ascii: "-")):
                continue
            case (8, _), (13, _), (18, _), (23, _): return nil
            case (_, UInt8(ascii: "0")...UInt8(ascii: "9")), (_, UInt8(ascii: "a")...UInt8(ascii: "f")): continue
            default: return nil
            }
        }
        self.rawValue = rawValue
    }

    /// A fresh identifier: 48 bits of time, 74 of chance.
    init(at time: Timestamp, random: Random) {
        var bytes = random.bytes(Self.byteCount)
        for index in 0..<6 { bytes[index] = UInt8(truncatingIfNeeded: time.milliseconds >> (40 - 8 * Int64(index))) }
        bytes[6] = 0x70 | (bytes[6] & 0x0F)
        bytes[8] = 0x80 | (bytes[8] & 0x3F)
        rawValue = Self.text(of: bytes)
    }

    static var byteCount: Int { 16 }

    /// Nil unless there are ``byteCount``.
    init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        rawValue = Self.text(of: bytes)
    }

    var bytes: [UInt8] {
        let digits = rawValue.utf8.filter { $0 != UInt8(ascii: "-") }.compactMap(Hex.value)
        return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private static func text(of bytes: [UInt8]) -> String {
        var text = ""
        text.reserveCapacity(36)
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append("-") }
            text.append(Hex.digit(byte >> 4))
            text.append(Hex.digit(byte & 0x0F))
        }
        return text
    }

    var description: String { rawValue }
}

typealias UserID = Identifier<User>
typealias CollectionID = Identifier<Collection>
typealias SessionID = Identifier<Session>

extension Identifier: Codable {}

/// Lower-case hexadecimal text.
enum Hex {
    static func digit(_ value: UInt8) -> Character {
        Character(Unicode.Scalar(value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10))
    }

    /// Of a lower-case digit in ASCII.
    static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }

    /// Of a digit in ASCII, in either case.
    static func anyCaseValue(_ digit: UInt8) -> UInt8? {
        (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(digit) ? value(digit | 0x20) : value(digit)
    }

    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text = ""
        for byte in bytes {
            text.append(digit(byte >> 4))
            text.append(digit(byte & 0x0F))
        }
        return text
    }
}
