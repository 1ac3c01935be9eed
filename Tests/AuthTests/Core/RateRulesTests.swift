import Testing

@testable import Auth

struct RateRulesTests {
    @Test(arguments: [
        ("auth=10/3 *=300/10", 10, 3, 300, 10), ("auth=1/1 *=1/1", 1, 1, 1, 1), ("auth=5/60", 5, 60, 300, 10),
        ("*=1000/1", 10, 3, 1000, 1),
        ("", 10, 3, 300, 10), ("  *=7/8,  auth=5/6 , ", 5, 6, 7, 8), ("auth=1/2,auth=3/4", 3, 4, 300, 10),
        ("auth=999999/99999", 999_999, 99_999, 300, 10),
    ])
    func `a text is read into rules`(_ text: String, _ authCount: Int, _ authSeconds: Int, _ count: Int, _ seconds: Int)
        throws
    {
        let rules = try #require(RateRules(parsing: text))
        #expect(rules.auth == RateRules.Rule(count: authCount, seconds: authSeconds))
        #expect(rules.general == RateRules.Rule(count: count, seconds: seconds))
        #expect(RateRules(parsing: rules.text) == rules)
    }

    @Test(arguments: [
        "auth", "auth=", "auth=10", "auth=10/", "auth=/3", "auth=0/3", "auth=10/0", "auth=-1/3", "auth=10/-3",
        "auth=1.5/3", "auth=10/3s", "auth = 10/3",
        "Auth=10/3", "login=10/3", "*=300/10 x", "unlimited=1/1", "auth=1000000/1", "auth=1/100000", "auth=10/3/1",
        "auth=١/٣", "auth=10/3;*=1/1",
        "auth=10/3\n*=1/1", "**=1/1", "auth=+1/1", "auth=0x1/1",
    ])
    func `what can not be read is refused`(_ text: String) {
        #expect(RateRules(parsing: text) == nil)
    }

    @Test func `each label has its rule, and health checks have none`() {
        let rules = RateRules.standard
        #expect(rules.text == "auth=10/3 *=300/10")
        #expect(rules.rule(for: .auth) == RateRules.Rule(count: 10, seconds: 3))
        #expect(rules.rule(for: .general) == RateRules.Rule(count: 300, seconds: 10))
        #expect(rules.rule(for: .unlimited) == nil)
    }
}
