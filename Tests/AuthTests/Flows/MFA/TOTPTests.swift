import Testing

@testable import Auth

@Suite struct TOTPTests {
    /// RFC 6238, appendix B; its codes of eight digits end in ours of six.
    @Test(
        arguments: [
            (59, "94287082"), (1_111_111_109, "07081804"), (1_111_111_111, "14050471"), (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"), (20_000_000_000, "65353130"),
        ] as [(Int64, String)]
    )
    func `the vectors of RFC 6238 hold`(_ seconds: Int64, _ code: String) {
        let totp = TOTP(key: Array("12345678901234567890".utf8))
        #expect(totp.code(at: TOTP.step(at: Timestamp(seconds: seconds))) == code.suffix(6))
    }

    /// RFC 4226, appendix D.
    @Test func `the vectors of RFC 4226 hold`() {
        let totp = TOTP(key: Array("12345678901234567890".utf8))
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
        ]
        #expect((0..<10).map { totp.code(at: $0) } == codes)
    }

    @Test(arguments: [(-2, false), (-1, true), (0, true), (1, true), (2, false)] as [(Int64, Bool)])
    func `a code is good one step early and late, and no more`(_ drift: Int64, _ isGood: Bool) throws {
        let totp = TOTP(random: .system)
        let now = Timestamp(seconds: 1_795_000_015)
        let step = TOTP.step(at: now) + drift
        let code = try #require(OneTimeCode(parsing: totp.code(at: step)))
        #expect(totp.step(of: code, at: now) == (isGood ? step : nil))
    }

    /// RFC 4648, §10, without padding.
    @Test(arguments: [
        ("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"),
        ("foobar", "MZXW6YTBOI"),
    ])
    func `base32 is RFC 4648's`(_ text: String, _ encoded: String) {
        #expect(Base32.encode(Array(text.utf8)) == encoded)
        #expect(Base32.decode(encoded) == Array(text.utf8))
    }

    @Test func `the URL is what authenticators read`() {
        let url = TOTP(key: Array("12345678901234567890".utf8)).url(account: "o'hara+x@example.org", issuer: "Ä & Co")
        #expect(
            url == "otpauth://totp/%C3%84%20%26%20Co:o%27hara%2Bx@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
                + "&issuer=%C3%84%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        )
    }

    @Test func `a recovery code has eight unambiguous characters and is read in any spelling`() throws {
        var seen: Set<String> = []
        for _ in 0..<200 {
            let text = RecoveryCode(random: .system).text.reveal()
            #expect(text.wholeMatch(of: /[a-hjkmnp-z2-9]{8}/) != nil)
            seen.insert(text)
            let spelled = "\(text.prefix(4).uppercased())-\(text.suffix(4)) "
            #expect(RecoveryCode(parsing: spelled)?.text.reveal() == text)
        }
        #expect(seen.count == 200)
        for wrong in ["", "abcdefg", "abcdefghj", "abcdefg1", "abcdefgl", "abcdefgo", "äbcdefgh"] {
            #expect(RecoveryCode(parsing: wrong) == nil, "\(wrong)")
        }
    }
}
