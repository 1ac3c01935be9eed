import Testing

@testable import Auth

struct OpaqueTokenTests {
    private static let random = Random.seeded(6)
    private static let session = SessionID(at: Timestamp(seconds: 1_700_000_000), random: random)

    private static func token(_ kind: OpaqueToken.Kind) -> OpaqueToken {
        kind == .accessToken ? OpaqueToken(accessTo: session, random: random) : OpaqueToken(apiKey: random)
    }

    @Test(arguments: OpaqueToken.Kind.allCases)
    func `what is made is read again`(_ kind: OpaqueToken.Kind) throws {
        let token = Self.token(kind)
        let text = token.text.reveal()
        #expect(text.hasPrefix(kind.rawValue))
        let read = try #require(OpaqueToken(parsing: text, kind))
        #expect(read.digest == token.digest)
        #expect(read.session == (kind == .accessToken ? Self.session : nil))
        #expect(text != Self.token(kind).text.reveal())
    }

    @Test(arguments: OpaqueToken.Kind.allCases)
    func `no other spelling of it is read`(_ kind: OpaqueToken.Kind) {
        let text = Self.token(kind).text.reveal()
        let characters = Array(text)
        for index in characters.indices {
            for other in "aZ9-_=. é" where other != characters[index] {
                var altered = characters
                altered[index] = other
                #expect(OpaqueToken(parsing: String(altered), kind) == nil, "\(index)")
            }
            #expect(OpaqueToken(parsing: String(characters[..<index]), kind) == nil)
            #expect(OpaqueToken(parsing: String(characters[index...].dropFirst()), kind) == nil)
        }
        for other in [
            text + "=", text + "A", text + "AAAA", " " + text, text + "\n", text.uppercased(), text.lowercased(),
        ] {
            #expect(OpaqueToken(parsing: other, kind) == nil)
        }
        for other in OpaqueToken.Kind.allCases where other != kind {
            #expect(OpaqueToken(parsing: text, other) == nil)
            let swapped = other.rawValue + text.dropFirst(kind.rawValue.count)
            #expect(OpaqueToken(parsing: swapped, other) == nil)
        }
    }

    @Test func `it can't be printed`() {
        #expect("\(Self.token(.apiKey).text)" == "‹secret›")
    }
}
