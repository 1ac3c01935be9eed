import Storage
import Testing

@testable import Auth

struct RecordFilterTests {
    private func problem(_ text: String) -> String? {
        do {
            _ = try RecordFilter(parsing: text)
            return nil
        } catch {
            guard let error = error as? AuthError, error.code == .validationFailed else {
                return "another error: \(error)"
            }
            return error.details["filter"]
        }
    }

    @Test func `no filter is true for every record`() throws {
        for text in [nil, ""] {
            let rendered = try RecordFilter(parsing: text).condition.render()
            #expect(rendered.text == "TRUE")
            #expect(rendered.values.isEmpty)
        }
    }

    @Test(
        arguments: [
            (#"status = "active""#, "status = $1", [.text("active")]),
            (#"status='active'"#, "status = $1", [.text("active")]),
            ("status=active", "status = $1", [.text("active")]),
            (#"kind != "system""#, "kind <> $1", [.text("system")]),
            (#"id >= "017f""#, "id >= $1", [.text("017f")]), (#"id<"8""#, "id < $1", [.text("8")]),
            ("  kind  =  human  ", "kind = $1", [.text("human")]),
            (#"email = "Ada@Example.ORG""#, "email_folded = $1", [.text("ada@example.org")]),
            (#"username > 'M'"#, "username_folded > $1", [.text("m")]),
            ("email_verified = true", "email_verified = $1", [.bool(true)]),
            ("anonymous != \"false\"", "anonymous <> $1", [.bool(false)]),
            (#"created_at >= "2026-01-31""#, "+created_at >= $1", [.integer(1_769_817_600_000)]),
            ("last_login_at < 2026-01-31T12:00:00Z", "last_login_at < $1", [.integer(1_769_860_800_000)]),
            (#"updated_at <= "1970-01-01T00:00:00.001Z""#, "updated_at <= $1", [.integer(1)]),
            (#"status = """#, "status = $1", [.text("")]),
            (#"email ~ "@Example.org""#, #"email_folded LIKE $1 ESCAPE '\'"#, [.text("%@example.org%")]),
            (#"username ~ "50%_a\b""#, #"username_folded LIKE $1 ESCAPE '\'"#, [.text(#"%50\%\_a\\b%"#)]),
            (#"status = "a" && kind = "b""#, "status = $1 AND kind = $2", [.text("a"), .text("b")]),
            (
                #"status="a"&&kind='b'&&id!=c"#, "status = $1 AND kind = $2 AND id <> $3",
                [.text("a"), .text("b"), .text("c")]
            ),
            (#"status = "a && b" && kind = "'""#, "status = $1 AND kind = $2", [.text("a && b"), .text("'")]),
        ] as [(String, String, [Value])]
    )
    func `conditions become SQL with bound values`(_ filter: String, _ text: String, _ values: [Value]) throws {
        let rendered = try RecordFilter(parsing: filter).condition.render()
        #expect(rendered.text == text)
        #expect(rendered.values == values)
    }

    /// A filter finds what a sign-in would find, and that composes the address first.
    @Test func `an email is folded as an address is`() throws {
        for text in ["E\u{301}va@Example.org", "\u{C9}va@example.org", "\u{E9}VA@EXAMPLE.ORG"] {
            let rendered = try RecordFilter(parsing: "email = \"\(text)\"").condition.render()
            let folded = try #require(EmailAddress(parsing: text)).folded
            guard case .text(let bound)? = rendered.values.first else {
                Issue.record("no text: \(rendered.values)")
                continue
            }
            #expect(Array(bound.utf8) == Array(folded.utf8))
        }
    }

    @Test(arguments: [
        "'; DROP TABLE users; --", "\\", "$1", "x' OR '1'='1", ") OR (1=1", "/* */",
    ])
    func `a value never becomes SQL`(_ value: String) throws {
        let rendered = try RecordFilter(parsing: "status = \"\(value)\"").condition.render()
        #expect(rendered.text == "status = $1")
        #expect(rendered.values == [.text(value)])
    }

    @Test(arguments: [
        "password = 1", "data = \"x\"", "1 = 1", "Status = active", "status", "status =", "= active",
        "status == active", "status = active kind = human",
        "status = active & kind = human", "status = active || kind = human", "status = \"a", "status = 'a\"",
        "status = a b", "(status = active)", "status = active;",
        "status IN (1)", "status = active &&", "&& status = active", "status = active && && kind = human",
        "email_verified = 1", "email_verified = yes",
        "email_verified > true", "email_verified ~ true", "anonymous = TRUE", "created_at = yesterday",
        "created_at = 1700000000", "created_at ~ \"2026\"",
        "created_at = \"2026-02-30\"", "status ! active", "status <> active", "status = a\u{0}", "users.status = a",
        "email_folded = \"a\"", " ", "é = 1",
    ])
    func `what is not understood is refused`(_ filter: String) {
        let problem = problem(filter)
        #expect(problem != nil)
        #expect(problem?.hasPrefix("another error") != true, "\(problem ?? "")")
    }

    @Test(arguments: [
        ("status = active nonsense", "can't be read at “status = active nonsense”"),
        ("status = active && x", "can't be read at “x”"),
        ("status = active && ", "ends in &&"), ("email_verified = 1", "compares a flag with = or != true or false"),
        ("created_at = never", "has a time that is not RFC 3339: never"),
        ("created_at ~ \"2026-01-31\"", "can't use ~ here"),
        (
            "secret = 1",
            "can't use secret; there are id, kind, status, email, username, email_verified, anonymous, created_at, updated_at, last_login_at"
        ),
    ])
    func `the refusal says what is not understood`(_ filter: String, _ message: String) {
        #expect(problem(filter) == message)
    }

    @Test func `a filter has at most ten conditions and 2000 bytes`() {
        func conditions(_ count: Int) -> String {
            Array(repeating: "status = active", count: count).joined(separator: " && ")
        }
        #expect(problem(conditions(10)) == nil)
        #expect(problem(conditions(11)) == "has more than 10 conditions")
        let start = "status = \""
        #expect(problem(start + String(repeating: "a", count: 2000 - start.count - 1) + "\"") == nil)
        #expect(problem(start + String(repeating: "a", count: 2000 - start.count) + "\"") == "is too long")
        #expect(problem(String(repeating: "a", count: 1_000_000)) == "is too long")
    }
}
