import Storage
import Testing

@testable import Auth

struct IdentifierTests {
    /// The moment of RFC 9562's example, appendix A.6.
    private let time = Timestamp(milliseconds: 0x017F_22E2_79B0)

    @Test func `the example of RFC 9562 is made from its parts`() {
        let bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F]
        let id = UserID(at: time, random: Random { _ in bytes })
        #expect(id.rawValue == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
        #expect(id.description == id.rawValue)
    }

    @Test(arguments: [0x00, 0xFF, 0x55, 0xAA] as [UInt8])
    func `the version is 7 and the variant is RFC 9562's, whatever chance says`(_ byte: UInt8) {
        let text = Array(UserID(at: time, random: Random { Array(repeating: byte, count: $0) }).rawValue)
        #expect(text[14] == "7")
        #expect("89ab".contains(text[19]))
        #expect(String(text.prefix(13)) == "017f22e2-79b0")
    }

    @Test func `all of chance's bits but six are used`() {
        let ones = UserID(at: time, random: Random { Array(repeating: 0xFF, count: $0) })
        let zeros = UserID(at: time, random: Random { Array(repeating: 0, count: $0) })
        #expect(ones.rawValue == "017f22e2-79b0-7fff-bfff-ffffffffffff")
        #expect(zeros.rawValue == "017f22e2-79b0-7000-8000-000000000000")
    }

    @Test func `texts have the order of their times, and are canonical`() throws {
        for seed in 0..<200 as Range<UInt64> {
            var generator = SplitMix64(seed: seed)
            let times = (0..<2).map { _ in
                Int64.random(in: 0..<(1 << 47), using: &generator) >> Int64.random(in: 0..<20, using: &generator)
            }
            let ids = times.map { time in
                let bytes = generator.bytes(16)
                return UserID(at: Timestamp(milliseconds: time), random: Random { _ in bytes })
            }
            #expect(
                times[0] == times[1] || (times[0] < times[1]) == (ids[0].rawValue < ids[1].rawValue),
                "seed \(seed)"
            )
            #expect(UserID(rawValue: ids[0].rawValue) == ids[0])
        }
    }

    @Test func `two made at the same moment differ`() {
        let ids = (0..<1000).map { _ in UserID(at: time, random: .system) }
        #expect(Set(ids).count == 1000)
    }

    @Test(arguments: [
        "", "017F22E2-79B0-7CC3-98C4-DC0C0C07398F", "017f22e2-79b0-7cc3-98c4-dc0c0c07398F",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", "017f22e279b07cc398c4dc0c0c07398f",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g", "017f22e2_79b0_7cc3_98c4_dc0c0c07398f",
        "017f22e-279b0-7cc3-98c4-dc0c0c07398f",
        " 17f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398\n",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739é",
        "017f22e2-79b0-7cc3-98c4--c0c0c07398f", "me", "1", "%", "017f22e2-79b0-7cc3-98c4-dc0c0c0739\u{0}\u{0}",
    ])
    func `any other spelling is refused`(_ text: String) {
        #expect(UserID(rawValue: text) == nil)
        #expect(UserID(sqlValue: .text(text)) == nil)
    }

    @Test func `it is stored as its text`() {
        let id = SessionID(at: time, random: .system)
        #expect(id.sqlValue == .text(id.rawValue))
        #expect(SessionID(sqlValue: id.sqlValue) == id)
        #expect(SessionID(sqlValue: .blob(Array(id.rawValue.utf8))) == nil)
        #expect(SessionID(sqlValue: .null) == nil)
    }

    @Test func `hexadecimal digits are lower case`() {
        #expect(Hex.encode([0x00, 0x09, 0x0A, 0x9F, 0xFF]) == "00090a9fff")
        #expect(Hex.encode([]) == "")
    }
}
