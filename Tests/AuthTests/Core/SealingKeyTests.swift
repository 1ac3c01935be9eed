import Testing

@testable import Auth

struct SealingKeyTests {
    private let key: SealingKey
    private let place = "setting:smtp.pass"

    init() throws {
        key = try #require(SealingKey(bytes: Array(0..<32)))
    }

    @Test func `a key has 32 bytes`() {
        for count in [0, 1, 16, 24, 31, 33, 64] {
            #expect(SealingKey(bytes: Array(repeating: 7, count: count)) == nil, "\(count)")
        }
        #expect(SealingKey(bytes: Array(repeating: 7, count: 32)) != nil)
    }

    @Test func `what is sealed is opened the same`() throws {
        let texts = ["", "a", "pässwörd 🔑", "v1.AAAA", "line\nbreak\u{0}", String(repeating: "long ", count: 20_000)]
        for text in texts {
            let sealed = try key.seal(text, place: place, random: .system)
            #expect(key.open(sealed, place: place)?.reveal() == text)
            #expect(text.utf8.count < 5 || !sealed.contains(text))
            #expect(sealed.hasPrefix("v1."))
        }
    }

    @Test func `random texts and places are opened, and nowhere else`() throws {
        for seed in 0..<100 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let bytes = random.bytes(32)
            let key = try #require(SealingKey(bytes: bytes))
            let text = Hex.encode(random.bytes(Int(seed)))
            let place = Hex.encode(random.bytes(4))
            let sealed = try key.seal(text, place: place, random: .system)
            #expect(key.open(sealed, place: place)?.reveal() == text, "seed \(seed)")
            #expect(key.open(sealed, place: place + "0") == nil, "seed \(seed)")
        }
    }

    @Test func `the same text is sealed differently each time`() throws {
        let sealed = try (0..<100).map { _ in try key.seal("same", place: place, random: .system) }
        #expect(Set(sealed).count == 100)
    }

    @Test func `a text that was altered anywhere is not opened`() throws {
        let sealed = try key.seal("secret", place: place, random: .system)
        let bytes = try #require(Base64URL.decode(sealed.dropFirst(3)))
        for index in bytes.indices {
            for bit in 0..<8 {
                var altered = bytes
                altered[index] ^= 1 << UInt8(bit)
                #expect(key.open("v1." + Base64URL.encode(altered), place: place) == nil, "byte \(index), bit \(bit)")
            }
        }
        for count in 0..<bytes.count {
            #expect(key.open("v1." + Base64URL.encode(Array(bytes.prefix(count))), place: place) == nil)
        }
        #expect(key.open("v1." + Base64URL.encode(bytes + [0]), place: place) == nil)
        #expect(key.open("v1." + Base64URL.encode(bytes), place: place)?.reveal() == "secret")
    }

    @Test func `a text that was moved to another place is not opened`() throws {
        let sealed = try key.seal("secret", place: place, random: .system)
        for other in ["", "setting:smtp.user", "setting:smtp.pas", "setting:smtp.passs", "Setting:smtp.pass"] {
            #expect(key.open(sealed, place: other) == nil, "\(other)")
        }
    }

    @Test func `another key opens nothing`() throws {
        let sealed = try key.seal("secret", place: place, random: .system)
        for index in 0..<32 {
            var bytes = Array(0..<32) as [UInt8]
            bytes[index] ^= 0x80
            #expect(try #require(SealingKey(bytes: bytes)).open(sealed, place: place) == nil, "byte \(index)")
        }
    }

    @Test func `what was never sealed is not opened`() throws {
        let sealed = try key.seal("secret", place: place, random: .system)
        for text in [
            "", "v1.", "v1", "secret", "v1.AAAA", "v2" + sealed.dropFirst(2), "V1" + sealed.dropFirst(2), sealed + "=",
            " " + sealed, sealed + "\n",
        ] {
            #expect(key.open(text, place: place) == nil, "\(text)")
        }
    }
}
