import Testing

@testable import Auth

struct PasswordPolicyTests {
    private static let email = "Ada.Lovelace@Example.org"

    private func problem(_ password: String, email: String? = Self.email, _ settings: [String: String] = [:]) -> String?
    {
        PasswordPolicy(Settings(stored: settings)).problem(with: password, email: email)
    }

    @Test(arguments: [
        "secret123", "correct horse battery staple", "Tr0ub4dor&3", "        ", "пароль-длинный", "🔑🔑🔑🔑🔑🔑🔑🔑",
        "ada.lovelace1", "xada.lovelace",
        "ada.lovelace@example.com", String(repeating: "a b", count: 85) + "c", "Example.org", "password1x",
        "passw0rd\u{0}x",
    ])
    func `any password that is long enough and not common is accepted`(_ password: String) {
        #expect(problem(password) == nil)
    }

    @Test(arguments: [
        "", "a", "1234567", "🔑🔑🔑🔑🔑🔑🔑", "e\u{301}e\u{301}e\u{301}e\u{301}", "password".dropLast().description,
    ])
    func `one that is too short is refused`(_ password: String) {
        #expect(problem(password) == "must be at least 8 characters")
    }

    @Test func `one that is too long is refused, before it is looked at`() {
        #expect(problem(String(repeating: "x", count: 256)) == nil)
        #expect(problem(String(repeating: "x", count: 257)) == "must be at most 256 characters")
        #expect(problem(String(repeating: "🔑", count: 256)) == nil)
        #expect(problem(String(repeating: "🔑", count: 257)) == "must be at most 256 characters")
        #expect(problem(String(repeating: "x", count: 1_000_000)) == "must be at most 256 characters")
        #expect(problem("eightchr" + String(repeating: "\u{301}", count: 600)) == "must be at most 256 characters")
    }

    @Test(arguments: [
        "password", "PASSWORD", "Password1", "12345678", "123456789", "qwertyuiop", "ILoveYou", "iloveyou!", "football",
        "1q2w3e4r", "trustno1",
    ])
    func `a common one is refused, in any case`(_ password: String) {
        #expect(problem(password) == "is one of the most common passwords; choose another")
        #expect(problem(password, ["password.blocklist": "0"]) == nil)
    }

    @Test(arguments: [
        "ada.lovelace@example.org", "Ada.Lovelace@Example.org", "ADA.LOVELACE@EXAMPLE.ORG", "ada.lovelace",
        "Ada.Lovelace",
    ])
    func `one's own email is refused, in any case, and so is what stands before the @`(_ password: String) {
        #expect(problem(password) == "must not be your email")
        #expect(problem(password, email: nil) == nil)
        #expect(problem(password, email: "bob@example.org") == nil)
        #expect(problem(password, ["password.blocklist": "0"]) == nil)
    }

    @Test func `the least length is a setting`() {
        #expect(problem("abc", ["password.min_length": "3"]) == nil)
        #expect(problem("ab", ["password.min_length": "3"]) == "must be at least 3 characters")
        #expect(problem("long enough", ["password.min_length": "12"]) == "must be at least 12 characters")
        #expect(problem("", ["password.min_length": "1"]) == "must be at least 1 characters")
    }

    @Test func `the built-in list is of lower-case texts of at least eight characters`() {
        let texts = CommonPasswords.list.description.split(whereSeparator: \.isWhitespace)
        #expect(texts.count == 3000)
        #expect(Set(texts).count == 3000)
        #expect(texts.allSatisfy { $0.count >= 8 && $0.lowercased() == $0 })
        #expect(!texts.contains("secret123"))
    }
}
