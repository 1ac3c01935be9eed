import Testing

@testable import Auth

@Suite struct LowSTests {
    /// The order of P-256, written down again.
    private static let order: [UInt8] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
        0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ]

    /// `(r, n − s)` for `(r, s)`, by addition: n − s is the number that added to s gives n.
    private func twin(of signature: [UInt8]) -> [UInt8] {
        var difference = Self.order
        var borrow = 0
        for index in (0..<32).reversed() {
            let value = Int(Self.order[index]) - Int(signature[32 + index]) - borrow
            borrow = value < 0 ? 1 : 0
            difference[index] = UInt8((value + 256) % 256)
        }
        return Array(signature.prefix(32)) + difference
    }

    @Test func `of a token's two signatures only the one that was made is accepted`() throws {
        let secret = Secret(Array("a secret of at least thirty-two bytes".utf8))
        let key = try SigningKey(secret: secret, algorithm: .es256)
        for number in 0..<50 {
            let token = try key.sign(["n": .integer(Int64(number))])
            let parts = token.split(separator: ".")
            let signed = Array("\(parts[0]).\(parts[1])".utf8)
            let signature = try #require(Base64URL.decode(parts[2]))
            #expect(LowS.holds(signature))
            #expect(key.isValid(signature: signature, of: signed))
            let other = twin(of: signature)
            #expect(!LowS.holds(other))
            #expect(!key.isValid(signature: other, of: signed))
            #expect(LowS.normalize(other) == signature)
            #expect(LowS.normalize(signature) == signature)
        }
    }
}
