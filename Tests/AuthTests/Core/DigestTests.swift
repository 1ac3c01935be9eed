import Storage
import Testing

@testable import Auth

struct DigestTests {
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func `it is SHA-256, by the vectors of FIPS 180-4`(_ text: String, _ hex: String) {
        #expect(Hex.encode(Digest(of: text).bytes) == hex)
        #expect(Digest(of: Array(text.utf8)) == Digest(of: text))
    }

    @Test func `other texts have other digests`() {
        let digests = (0..<1000).map { Digest(of: "token \($0)") }
        #expect(Set(digests).count == 1000)
        // Bytes count, not what Swift takes for the same text.
        #expect(Digest(of: "e\u{301}") != Digest(of: "\u{E9}"))
    }

    @Test func `equal digests hash alike`() {
        #expect(Digest(of: "a").hashValue == Digest(of: "a").hashValue)
        #expect(Set([Digest(of: "a"), Digest(of: "a"), Digest(of: "b")]).count == 2)
    }

    @Test func `it is stored as 32 bytes, and read from nothing else`() {
        let digest = Digest(of: "token")
        #expect(digest.sqlValue == .blob(digest.bytes))
        #expect(Digest(sqlValue: digest.sqlValue) == digest)
        for value in [
            .null, .blob([]), .blob(Array(digest.bytes.dropLast())), .blob(digest.bytes + [0]), .text("token"),
            .integer(1),
        ] as [Value] {
            #expect(Digest(sqlValue: value) == nil)
        }
    }
}
