import OrderedCollections
import Testing

@testable import Auth

struct SuppliedSecretTests {
    private static let random = Random.seeded(7)
    private static let user = User(
        id: UserID(at: Timestamp(seconds: 1_700_000_000), random: random),
        collectionID: CollectionID(at: Timestamp(seconds: 1_700_000_000), random: random),
        kind: .human,
        status: .active,
        email: "ada.lovelace@example.org",
        username: "ada-lovelace",
        isEmailVerified: true,
        isAnonymous: false,
        data: [:],
        createdAt: Timestamp(seconds: 1_700_000_000),
        updatedAt: Timestamp(seconds: 1_700_000_000)
    )

    private func problem(_ text: String) -> String? { SuppliedSecret.problem(with: text, of: Self.user) }

    @Test(arguments: [
        "0123456789abcdef0123456789abcde", String(repeating: "x", count: 257), "",
        String(repeating: "a", count: 32), String(repeating: "ab", count: 16),
        String(repeating: "0123456789abcdef", count: 2),
        "passwordpasswordpasswordpasswordpassword", "abcdefghijklmnopqrstuvwxyz0123456789",
        "zyxwvutsrqponmlkjihgfedcba9876543210", "aaaabbbbccccddddeeeeffffgggghhhh",
        "0123456789012345678901234567890123",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
        "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "lk_key_c29tZXRoaW5nIHRoYXQgbG9va3MgbGlrZSBvbmUgb2Ygb3Vycw", "LK_AT_c29tZXRoaW5nIHRoYXQgbG9va3M",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "with a space 8f3kd02jf83kd0s9f8g7h6j5",
        "with:a:colon:8f3kd02jf83kd0s9f8g7h6j5", "ünicode8f3kd02jf83kd0s9f8g7h6j5k4l3",
        "ada.lovelace@example.org-8f3kd02jf83kd0s9", "x8f3-Ada-Lovelace-kd02jf83kd0s9f8g7h",
    ])
    func `a text that could be guessed or mistaken is refused`(_ text: String) {
        #expect(problem(text) != nil)
    }

    @Test func `random texts pass, in whatever alphabet`() {
        for alphabet in ["0123456789", "0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"].map({ Array($0) }) {
            for round in 0..<500 {
                let bytes = Self.random.bytes(32 + round % 33)
                let text = String(bytes.map { alphabet[Int($0) * alphabet.count / 256] })
                #expect(problem(text) == nil, "\(text)")
            }
        }
        #expect(problem(Base64URL.encode(Self.random.bytes(48))) == nil)
        #expect(problem(String(repeating: "x", count: 10)) != nil)
    }
}
