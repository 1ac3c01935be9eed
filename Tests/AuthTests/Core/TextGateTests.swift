import Foundation
import Testing

@testable import Auth

struct TextGateTests {
    private static let acute = "\u{301}"
    private static let graveBelow = "\u{316}"

    @Test(arguments: ["", "a", "Ada", "日本語", "é", "👩‍👩‍👧‍👦", "नमस्ते", "\u{1F1E9}\u{1F1EA}"])
    func `what people write is stream-safe`(_ text: String) {
        #expect(StreamSafeText.holds(text))
    }

    @Test(arguments: ["\u{301}", "\u{316}", "\u{5B0}", "\u{64B}", "\u{E48}", "\u{1D165}", "\u{F71}"])
    func `thirty combining marks in a row are, and thirty-one are not`(_ mark: String) {
        #expect(StreamSafeText.holds("a" + String(repeating: mark, count: 30) + "b"))
        #expect(!StreamSafeText.holds("a" + String(repeating: mark, count: 31)))
        #expect(!StreamSafeText.holds(String(repeating: mark, count: 31)))
        // A starter begins another run.
        #expect(StreamSafeText.holds(String(repeating: "a" + String(repeating: mark, count: 30), count: 5)))
    }

    @Test(arguments: ["\u{344}", "\u{F73}", "\u{F75}", "\u{F81}"])
    func `marks that come apart into two count as two`(_ mark: String) {
        #expect(StreamSafeText.holds("a" + String(repeating: mark, count: 15)))
        #expect(!StreamSafeText.holds("a" + String(repeating: mark, count: 16)))
    }

    /// Every scalar there is: what the gate counts is what normalisation sorts.
    @Test func `no scalar gets more than two marks past the count`() {
        for value in 0...0x10FFFF as ClosedRange<UInt32> {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let decomposed = String(scalar).decomposedStringWithCanonicalMapping.unicodeScalars
            var run = 0
            var longest = 0
            for part in decomposed {
                run = part.properties.canonicalCombiningClass == .notReordered ? 0 : run + 1
                longest = max(longest, run)
            }
            // Marks at the beginning would prolong a run, so they must be counted one by one.
            let leading = decomposed.prefix { $0.properties.canonicalCombiningClass != .notReordered }.count
            if leading > 0 {
                let safe = StreamSafeText.holds("a" + String(repeating: String(scalar), count: 30 / leading))
                let unsafe = StreamSafeText.holds("a" + String(repeating: String(scalar), count: 30 / leading + 1))
                #expect(safe && !unsafe, "\(String(value, radix: 16))")
            }
            #expect(longest <= 3, "\(String(value, radix: 16))")
        }
    }

    @Test func `length is in bytes, and comes first`() {
        let kind = TextKind(bytesMax: 4, isASCII: false)
        #expect(TextGate.text(Array("éé".utf8), as: kind) == "éé")
        #expect(TextGate.text(Array("ééa".utf8), as: kind) == nil)
        #expect(TextGate.text("ééa", as: kind) == nil)
    }

    @Test func `invalid UTF-8 and what is not ASCII where only that may be are refused`() {
        #expect(TextGate.text([0xFF], as: .memberName) == nil)
        #expect(TextGate.text([0xED, 0xA0, 0x80], as: .memberName) == nil)
        #expect(TextGate.text(Array("é".utf8), as: .headerValue) == nil)
        #expect(TextGate.text("é", as: .headerValue) == nil)
        #expect(TextGate.text("Bearer x", as: .headerValue) == "Bearer x")
    }

    @Test func `a text that is only shown is cut and printable`() {
        #expect(TextGate.shown("curl/8 é\u{0}\n".utf8, bytesMax: 100) == "curl/8 ????")
        #expect(TextGate.shown("abcdef".utf8, bytesMax: 3) == "abc")
    }
}
