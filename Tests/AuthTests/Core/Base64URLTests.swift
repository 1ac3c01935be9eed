import Foundation
import Testing

@testable import Auth

struct Base64URLTests {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ])
    func `the vectors of RFC 4648 hold without padding`(_ plain: String, _ encoded: String) {
        #expect(Base64URL.encode(Array(plain.utf8)) == encoded)
        #expect(Base64URL.decode(encoded) == Array(plain.utf8))
    }

    @Test func `the last two letters are - and _`() {
        #expect(Base64URL.encode([0xFB, 0xEF, 0xFF] as [UInt8]) == "--__")
        #expect(Base64URL.decode("--__") == [0xFB, 0xEF, 0xFF])
        #expect(Base64URL.decode("-_8") == [0xFB, 0xFF])
    }

    @Test func `what is encoded is decoded the same, and as Foundation would`() {
        for seed in 0..<300 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let bytes = random.bytes(Int(seed))
            let text = Base64URL.encode(bytes)
            #expect(Base64URL.decode(text) == bytes, "seed \(seed)")
            let standard = text.replacing("-", with: "+").replacing("_", with: "/")
            let padded = standard + String(repeating: "=", count: (4 - standard.count % 4) % 4)
            #expect(Data(base64Encoded: padded).map(Array.init) == bytes, "seed \(seed)")
        }
    }

    /// Of all texts of two letters those that stand for one byte are 256, and of three letters with a fixed first 1024 of two.
    @Test func `each byte string has exactly one spelling`() {
        var decoded: [[UInt8]: String] = [:]
        for (first, second) in Self.alphabet.flatMap({ first in Self.alphabet.map { (first, $0) } }) {
            for text in ["\(first)\(second)", "A\(first)\(second)"] {
                guard let bytes = Base64URL.decode(text) else { continue }
                #expect(decoded[bytes] == nil, "\(text) and \(decoded[bytes] ?? "")")
                decoded[bytes] = text
                #expect(Base64URL.encode(bytes) == text)
            }
        }
        #expect(decoded.keys.filter { $0.count == 1 }.count == 256)
        #expect(decoded.keys.filter { $0.count == 2 }.count == 1024)
    }

    @Test func `unused bits that are set are refused, for every last letter`() {
        for seed in 1..<60 as Range<UInt64> where seed % 3 != 0 {
            var random = SplitMix64(seed: seed)
            let bytes = random.bytes(Int(seed))
            let text = Base64URL.encode(bytes)
            let accepted = Self.alphabet.filter { Base64URL.decode(text.dropLast() + String($0)) != nil }
            #expect(accepted.count == (seed % 3 == 1 ? 4 : 16), "seed \(seed)")
            #expect(Self.alphabet.filter { Base64URL.decode(text.dropLast() + String($0)) == bytes } == [text.last])
        }
    }

    @Test(arguments: [
        "A", "AAAAA", "Zg==", "Zg=", "Zm8=", "=", "Zm9v=", "Zm+v", "Zm/v", "Zm 9v", "Zm9v\n", " Zm9v", "Zm9v\r\n",
        "Zm9v\u{0}", "Zm9é", "Ｚｍ９ｖ",
        "Zm9v.", "Zm9v,Zg", "Zm9\u{301}v", "Zh", "Zm9", "Z_", "%5A",
    ])
    func `padding, foreign characters and loose bits are refused`(_ text: String) {
        #expect(Base64URL.decode(text) == nil)
    }

    @Test func `standard base64 needs its padding`() {
        #expect(Base64.decode("Zm9vYg==") == Array("foob".utf8))
        #expect(Base64.decode("+/8=") == [0xFB, 0xFF])
        #expect(Base64.decode("") == [])
        for text in ["Zm9vYg", "Zm9vYg=", "-_8=", "Zm9v Yg==", "Z", "é"] {
            #expect(Base64.decode(text) == nil, "\(text)")
        }
    }
}
