import Testing

@testable import Auth

struct EmailAddressTests {
    @Test(arguments: [
        "a@b.c", "ada@example.org", "Ada.Lovelace+tag@Example.ORG", "a_b-c%d!#$&'*/=?^`{|}~@example.org", "1@2.3",
        "ada@localhost",
        "x@xn--bcher-kva.example", "grüße@bücher.example", "用户@例子.公司", "δοκιμή@παράδειγμα.δοκιμή", "😀@example.org",
        "a@" + String(repeating: "b", count: 63) + ".c", String(repeating: "a", count: 64) + "@example.org",
        "a@1-2.example",
    ])
    func `an address that people have is accepted as written`(_ text: String) {
        #expect(EmailAddress(parsing: text)?.text == text)
    }

    @Test(arguments: [
        "=?utf-8?q?evil=40attacker.example?=@corp.example", "=?utf-8?q?evil?=@corp.example",
        "", "@", "a", "a@", "@b.c", "a@b@c.d", "a@@b.c", "a b@c.d", " a@b.c", "a@b.c ", "a@b c.d", "a@b..c", "a@.b.c",
        "a@b.c.", ".a@b.c",
        "a.@b.c", "a..b@c.d", "a@-b.c", "a@b-.c", "a@b_c.d", "a@[127.0.0.1]", "a@[IPv6:::1]", "\"a b\"@c.d",
        "\"a\"@c.d", "a\\b@c.d",
        "a(comment)@b.c", "a@b.c(comment)", "Ada <a@b.c>", "<a@b.c>", "a@b.c,d@e.f", "a@b.c;d@e.f", "a:b@c.d",
        "a@b.c:25", "a@b/c", "a@b.c?x",
        "mailto:a@b.c", "a@b,c", "a@b!c.d", "a@ｂ．", "a@\u{3002}b", "a@b%00.c",
    ])
    func `what is no address, or one that nobody signs up with, is refused`(_ text: String) {
        #expect(EmailAddress(parsing: text) == nil)
    }

    @Test(arguments: [
        "a@b.c\r\nBcc: x@y.z", "a\r\n@b.c", "a\n@b.c", "a@b.c\n", "\na@b.c", "a@b\r.c", "a\u{0}@b.c", "a@b.c\u{0}",
        "a\t@b.c", "a\u{7F}@b.c",
        "a\u{85}@b.c", "a\u{2028}@b.c", "a\u{2029}@b.c", "a\u{A0}@b.c", "a\u{3000}@b.c", "a\u{B}@b.c", "a\u{C}@b.c",
        "a\u{1B}[0m@b.c",
    ])
    func `no line break or control character gets into a mail's header`(_ text: String) {
        #expect(EmailAddress(parsing: text) == nil)
    }

    @Test(arguments: [
        "a\u{200B}b@c.d", "a\u{200D}b@c.d", "a\u{202E}b@c.d", "a\u{FEFF}b@c.d", "\u{FEFF}a@b.c", "a@b\u{200B}.c",
        "a\u{E000}@b.c",
        "a\u{FFFF}@b.c", "a\u{AD}b@c.d", "a@b\u{202E}c.d",
    ])
    func `invisible characters are refused`(_ text: String) {
        #expect(EmailAddress(parsing: text) == nil)
    }

    /// In Swift a sign with a combining mark is another character; in bytes, which a mail server reads, it is not.
    @Test(arguments: [
        "a@\u{301}b@c.d", "a@b@\u{301}c.d", ".\u{301}a@b.c", "a.\u{301}@b.c", "a..\u{301}b@c.d", "a@-\u{345}b.c",
        "\u{301}a@b.c", "a@\u{93E}b.c",
    ])
    func `a combining mark hides no sign`(_ text: String) {
        #expect(EmailAddress(parsing: text) == nil)
    }

    /// Each becomes an ASCII sign when it is composed: the Kelvin sign a K, the Greek question mark a semicolon.
    @Test(arguments: ["\u{212A}iss@example.org", "kiss@example.or\u{212A}", "a\u{37E}b@c.d", "a\u{1FEF}b@c.d"])
    func `no other sign becomes an ASCII one`(_ text: String) {
        #expect(EmailAddress(parsing: text) == nil)
    }

    @Test func `lengths are bounded in bytes`() {
        #expect(EmailAddress(parsing: String(repeating: "a", count: 65) + "@b.c") == nil)
        #expect(EmailAddress(parsing: String(repeating: "é", count: 32) + "@b.c") != nil)
        #expect(EmailAddress(parsing: String(repeating: "é", count: 33) + "@b.c") == nil)
        #expect(EmailAddress(parsing: "a@" + String(repeating: "b", count: 64) + ".c") == nil)
        let domain = String(repeating: String(repeating: "b", count: 49) + ".", count: 5)
        #expect(EmailAddress(parsing: "ab@" + domain + "c")?.text.utf8.count == 254)
        #expect(EmailAddress(parsing: "abc@" + domain + "c") == nil)
        #expect(EmailAddress(parsing: String(repeating: "a@b.", count: 500_000)) == nil)
    }

    @Test(arguments: [
        ("Ada@Example.ORG", "ada@example.org"), ("ADA@example.org", "ada@EXAMPLE.org"),
        ("GRÜSSE@bücher.example", "grüsse@BÜCHER.example"),
        ("e\u{301}@b.c", "\u{E9}@b.c"), ("E\u{301}@b.c", "\u{E9}@B.C"),
        ("\u{1E9B}\u{323}@b.c", "\u{1E9B}\u{323}@B.C"),
    ])
    func `two spellings of one address fold alike`(_ one: String, _ two: String) throws {
        let folded = try [one, two].map { Array(try #require(EmailAddress(parsing: $0)).folded.utf8) }
        #expect(folded[0] == folded[1])
    }

    @Test(arguments: [
        ("ada@example.org", "adа@example.org"), ("a.da@example.org", "ada@example.org"),
        ("ada+x@example.org", "ada@example.org"),
        ("ada@example.org", "ada@example.com"), ("ß@b.c", "ss@b.c"), ("ａda@b.c", "ada@b.c"),
    ])
    func `two addresses stay two`(_ one: String, _ two: String) throws {
        let folded = try [one, two].map { try #require(EmailAddress(parsing: $0)).folded }
        #expect(folded[0] != folded[1])
    }

    @Test func `folding a folded address changes nothing`() throws {
        for text in ["Ada@Example.ORG", "İ@b.c", "ΑΣ@b.c", "ǅ@b.c", "ẞ@B.C", "\u{3A9}\u{301}@b.c", "\u{1E9E}@b.c"] {
            let folded = try #require(EmailAddress(parsing: text)).folded
            let again = try #require(EmailAddress(parsing: folded)).folded
            #expect(Array(folded.utf8) == Array(again.utf8), "\(text)")
        }
    }
}

struct UsernameTests {
    @Test(arguments: [
        "a", "7", "ada", "Ada_Lovelace-1815.x", "...", "grüße", "用户", "Ωmega", "नमस्ते", String(repeating: "a", count: 64),
        "_", "-",
    ])
    func `letters, digits, dots, hyphens and underscores make a username`(_ text: String) {
        #expect(Username(parsing: text)?.text == text)
    }

    @Test(arguments: [
        "", " ", "a b", "a@b", "ada@example.org", "@", "a\u{0}", "a\n", "a\r\nb", "a/b", "a\\b", "a:b", "a\"b", "<a>",
        "a;b", "a,b", "a+b", "a%b", "a#b",
        "😀", "a\u{200B}b", "a\u{202E}b", "a\u{A0}b", "@\u{301}", "a@\u{301}b", String(repeating: "a", count: 65),
    ])
    func `anything else is refused, above all what looks like an email`(_ text: String) {
        #expect(Username(parsing: text) == nil)
    }

    /// One character can be any number of letters long: marks that count as letters stack up on the first.
    @Test func `a username is bounded however its characters are counted`() {
        #expect(Username(parsing: "a" + String(repeating: "\u{345}", count: 10_000)) == nil)
        #expect(Username(parsing: "क" + String(repeating: "\u{93E}", count: 10_000)) == nil)
        #expect(Username(parsing: String(repeating: "\u{10400}", count: 64)) != nil)
        #expect(Username(parsing: "\u{93E}") == nil)
    }

    @Test(arguments: [("Ada", "aDA"), ("GRÜN", "gru\u{308}n"), ("ΩMEGA", "ωmega"), ("\u{212A}ai", "kai")])
    func `two spellings of one username fold alike`(_ one: String, _ two: String) throws {
        let folded = try [one, two].map { Array(try #require(Username(parsing: $0)).folded.utf8) }
        #expect(folded[0] == folded[1])
    }
}
