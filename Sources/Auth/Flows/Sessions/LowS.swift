/// ECDSA has two signatures for each, (r, s) and (r, n − s).
///
/// We make and accept the one whose s is at most n/2, so that nobody can turn a valid token into another valid one.
enum LowS {
    /// The order n of P-256 (SEC 2, §2.4.2), big-endian.
    private static let order: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6,
        0xFA, 0xAD,
        0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ]
    private static let halfOrder: [UInt8] = [
        0x7F, 0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00, 0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xDE, 0x73,
        0x7D, 0x56,
        0xD3, 0x8B, 0xCF, 0x42, 0x79, 0xDC, 0xE5, 0x61, 0x7E, 0x31, 0x92, 0xA8,
    ]

    /// True for 64 bytes r ‖ s with the smaller s.
    ///
    /// A signature is public: the comparison needs no constant time.
    static func holds(_ signature: [UInt8]) -> Bool {
        signature.count == 64 && !halfOrder.lexicographicallyPrecedes(signature.suffix(32))
    }

    /// The same signature with the smaller s.
    static func normalize(_ signature: [UInt8]) -> [UInt8] {
        guard signature.count == 64, !holds(signature) else { return signature }
        var normalized = signature
        var borrow = 0
        for index in stride(from: 31, through: 0, by: -1) {
            let difference = Int(order[index]) - Int(signature[32 + index]) - borrow
            borrow = difference < 0 ? 1 : 0
            normalized[32 + index] = UInt8(truncatingIfNeeded: difference)
        }
        return normalized
    }
}
