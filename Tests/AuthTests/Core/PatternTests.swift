import Testing

@testable import Auth

struct PatternTests {
    @Test(arguments: [
        ("^[a-z]+$", "abc", true), ("^[a-z]+$", "abc1", false), ("b", "abc", true), ("^b", "abc", false),
        ("(?i)ABC", "xabcx", true), (#"^\p{L}+$"#, "Zoë日本", true), (#"^\d{3}-\d{2}$"#, "123-45", true),
        (#"^\d$"#, "٣", false), ("^.$", "é", true), ("^.$", "👍", true), ("^$", "", true), ("a|b$", "xb", true),
        ("^a$", "a\n", false),
    ])
    func `a pattern matches some part of a text`(_ pattern: String, _ text: String, _ matches: Bool) throws {
        #expect(try Pattern(pattern).matches(text) == matches)
    }

    /// Each of them keeps a backtracking engine busy for longer than anybody waits.
    @Test(arguments: ["(x+x+)+y", "(a*)*$", "(.*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x|x)*y", "(a?){50}a{50}"])
    func `patterns that explode elsewhere are matched in time linear in the text`(_ pattern: String) throws {
        let compiled = try Pattern(pattern)
        for text in ["x", "a", "xa", "ab "] {
            _ = compiled.matches(String(repeating: text, count: 50_000))
        }
    }

    @Test(arguments: [
        "(", "[", "*", "a{2000}", "(?=a)", "(?!a)", "(?<=a)b", #"(a)\1"#, "(?P<x", "((a{100}){100}){100}",
    ])
    func `what can not be matched so is refused with a reason`(_ pattern: String) {
        #expect { try Pattern(pattern) } throws: { error in
            (error as? Pattern.Unsupported)?.reason.isEmpty == false
        }
    }

    @Test func `a stored pattern that is not supported says so, and matches nothing`() {
        #expect(Pattern(stored: "(?=a)").matches("a") == nil)
        #expect(Pattern(stored: "a").matches("a") == true)
    }
}
