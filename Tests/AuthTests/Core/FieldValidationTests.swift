import Testing

@testable import Auth

struct FieldValidationTests {
    private func field(_ members: String) throws -> Field {
        try Field(json: try #require(JSON(parsing: "{\"name\":\"a\",\(members)}")), place: "field")
    }

    /// A definition, a value, and what is wrong with it.
    struct Case: Sendable, CustomTestStringConvertible {
        let definition: String
        let value: JSON
        let problem: String?

        init(_ definition: String, _ value: JSON, _ problem: String? = nil) {
            self.definition = definition
            self.value = value
            self.problem = problem
        }

        var testDescription: String { "\(definition): \(value.serialized.prefix(60))" }
    }

    private func check(_ a: Case) throws {
        #expect(try field(a.definition).problem(with: a.value) == a.problem)
    }

    @Test(arguments: [
        Case(#""type":"text""#, ""), Case(#""type":"text""#, "a"),
        Case(#""type":"text""#, .string(String(repeating: "é", count: 5000))),
        Case(#""type":"text""#, .string(String(repeating: "a", count: 5001)), "must be at most 5000 characters"),
        Case(#""type":"text""#, 1, "must be a text"), Case(#""type":"text""#, true, "must be a text"),
        Case(#""type":"text""#, .null, "must be a text"),
        Case(#""type":"text""#, ["a"], "must be a text"), Case(#""type":"text","min":3"#, "abc"),
        Case(#""type":"text","min":3"#, "日本語"),
        Case(#""type":"text","min":3"#, "ab", "must be at least 3 characters"),
        Case(#""type":"text","min":3"#, "👨‍👩‍👧‍👦", "must be at least 3 characters"),
        Case(#""type":"text","max":3"#, "abc"), Case(#""type":"text","max":3"#, "abcd", "must be at most 3 characters"),
        Case(#""type":"text","min":3,"max":3"#, "abc"),
        Case(#""type":"text","max":6000"#, .string(String(repeating: "a", count: 6000))),
        Case(#""type":"text","pattern":"^[a-z]+$""#, "abc"),
        Case(#""type":"text","pattern":"^[a-z]+$""#, "abC", "does not match the required pattern"),
        Case(#""type":"text","pattern":"b+""#, "abbc"),
        Case(#""type":"text","pattern":"b+""#, "ac", "does not match the required pattern"),
        Case(#""type":"text","pattern":"^.$""#, "😀"),
        Case(#""type":"text","min":2,"pattern":"^a""#, "b", "must be at least 2 characters"),
    ])
    func `texts`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"email""#, "ada@example.org"), Case(#""type":"email""#, "ada", "must be a valid email address"),
        Case(#""type":"email""#, 5, "must be a valid email address"),
        Case(#""type":"email""#, "", "must be a valid email address"),
        Case(#""type":"email""#, "a@b.c\nBcc: d@e.f", "must be a valid email address"),
        Case(#""type":"email","min":5,"max":64"#, "a@b.c"),
        Case(#""type":"email","min":6"#, "a@b.c", "must be at least 6 characters"),
        Case(#""type":"email","max":4"#, "a@b.c", "must be at most 4 characters"),
        Case(#""type":"email","pattern":"@example\\.org$""#, "ada@example.org"),
        Case(#""type":"email","pattern":"@example\\.org$""#, "ada@example.com", "does not match the required pattern"),
    ])
    func `emails`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"url""#, "https://example.org"), Case(#""type":"url""#, "http://example.org:8080/a?b=c#d"),
        Case(#""type":"url""#, "https://[::1]/"),
        Case(#""type":"url""#, "https://", "must be an http or https URL"),
        Case(#""type":"url""#, "example.org", "must be an http or https URL"),
        Case(#""type":"url""#, "javascript:alert(1)", "must be an http or https URL"),
        Case(#""type":"url""#, "ftp://example.org", "must be an http or https URL"),
        Case(#""type":"url""#, "//example.org", "must be an http or https URL"),
        Case(#""type":"url""#, "data:text/html,x", "must be an http or https URL"),
        Case(#""type":"url""#, "https://user:pass@a.b", "must be an http or https URL"),
        Case(#""type":"url""#, "", "must be an http or https URL"),
        Case(#""type":"url""#, 1, "must be an http or https URL"),
        Case(#""type":"url""#, "https:example.org", "must be an http or https URL"),
        Case(#""type":"url""#, " https://a.b", "must be an http or https URL"),
        Case(#""type":"url""#, "https://a.b/\nc", "must be an http or https URL"),
        Case(#""type":"url""#, "https://a b/", "must be an http or https URL"),
        Case(#""type":"url""#, "https://a.b/<script>", "must be an http or https URL"),
        Case(#""type":"url""#, "https://a.b/\"x", "must be an http or https URL"),
        Case(#""type":"url","max":12"#, "https://a.b/c", "must be at most 12 characters"),
        Case(#""type":"url","pattern":"^https:""#, "http://a.b", "does not match the required pattern"),
    ])
    func `URLs`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"number""#, 0), Case(#""type":"number""#, .number(-1.5)),
        Case(#""type":"number""#, "1", "must be a number"),
        Case(#""type":"number""#, true, "must be a number"), Case(#""type":"number""#, [1], "must be a number"),
        Case(#""type":"number","min":1,"max":10"#, 1), Case(#""type":"number","min":1,"max":10"#, 10),
        Case(#""type":"number","min":1,"max":10"#, 0, "must be at least 1"),
        Case(#""type":"number","min":1,"max":10"#, 11, "must be at most 10"),
        Case(#""type":"number","min":1,"max":10"#, .number(10.5), "must be at most 10"),
        Case(#""type":"number","min":0.5"#, .number(0.5)),
        Case(#""type":"number","min":0.5"#, .number(0.25), "must be at least 0.5"),
        Case(#""type":"number","min":-5"#, -5),
        Case(#""type":"number","max":-5"#, -4, "must be at most -5"),
    ])
    func `numbers`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"bool""#, true), Case(#""type":"bool""#, false),
        Case(#""type":"bool""#, 1, "must be true or false"),
        Case(#""type":"bool""#, "true", "must be true or false"),
        Case(#""type":"bool""#, .null, "must be true or false"),
    ])
    func `flags`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"date""#, "2026-01-31"), Case(#""type":"date""#, "2026-01-31T12:00:00+02:00"),
        Case(#""type":"date""#, "2026-02-30", "must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z"),
        Case(#""type":"date""#, "tomorrow", "must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z"),
        Case(#""type":"date""#, 20_260_131, "must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z"),
        Case(#""type":"date","min":"2000-01-01","max":"2000-12-31""#, "2000-01-01"),
        Case(#""type":"date","max":"2000-12-31""#, "2000-12-31"),
        Case(#""type":"date","min":"2000-01-01""#, "1999-12-31T23:59:59Z", "must not be before 2000-01-01"),
        Case(#""type":"date","min":"2000-01-01""#, "2000-01-01T00:00:00+00:01", "must not be before 2000-01-01"),
        Case(#""type":"date","max":"2000-12-31""#, "2001-01-01", "must not be after 2000-12-31"),
    ])
    func `dates`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"select","values":["red","green"]"#, "red"),
        Case(#""type":"select","values":["red","green"]"#, "Red", "must be one of: red, green"),
        Case(#""type":"select","values":["red","green"]"#, "", "must be one of: red, green"),
        Case(#""type":"select","values":["1"]"#, 1, "must be one of: 1"),
        Case(#""type":"select","values":["red","green"]"#, ["red"], "must be one of: red, green"),
        Case(#""type":"select","values":["a","b","c"],"multiple":true"#, ["a", "c"]),
        Case(#""type":"select","values":["a","b"],"multiple":true"#, []),
        Case(#""type":"select","values":["a","b"],"multiple":true"#, "a", "must be a list of: a, b"),
        Case(#""type":"select","values":["a","b"],"multiple":true"#, ["a", "x"], "must be a list of: a, b"),
        Case(#""type":"select","values":["a","b"],"multiple":true"#, ["a", 1], "must be a list of: a, b"),
        Case(#""type":"select","values":["a","b"],"multiple":true"#, ["a", "a"], "must not name a choice twice"),
        Case(#""type":"select","values":["a","b","c"],"multiple":true,"min":2"#, ["a"], "must be at least 2 choices"),
        Case(
            #""type":"select","values":["a","b","c"],"multiple":true,"max":2"#,
            ["a", "b", "c"],
            "must be at most 2 choices"
        ),
        Case(#""type":"select","values":["a","b","c"],"multiple":true,"min":2,"max":2"#, ["c", "a"]),
    ])
    func `choices`(_ a: Case) throws { try check(a) }

    @Test(arguments: [
        Case(#""type":"json""#, .null), Case(#""type":"json""#, ["a": [1, .null]]), Case(#""type":"json""#, "text"),
        Case(#""type":"json","max":5"#, "abc"), Case(#""type":"json","max":5"#, "abcd", "must be at most 5 bytes"),
        Case(#""type":"json","max":5"#, "éab", "must be at most 5 bytes"),
        Case(#""type":"json","min":3"#, [], "must be at least 3 bytes"),
        Case(#""type":"json""#, .string(String(repeating: "a", count: 16_382))),
        Case(#""type":"json""#, .string(String(repeating: "a", count: 16_383)), "must be at most 16384 bytes"),
    ])
    func `any JSON`(_ a: Case) throws { try check(a) }

    /// A definition, two values, and whether they are one.
    @Test(
        arguments: [
            (#""type":"email""#, "Ada@Example.org", "ada@example.org", true),
            (#""type":"email""#, "ada@example.org", "bob@example.org", false),
            (#""type":"text""#, "e\u{301}", "\u{E9}", true), (#""type":"text""#, "a", "A", false),
            (#""type":"text""#, "a", "a ", false),
            (#""type":"date""#, "2026-01-31", "2026-01-31T01:00:00+01:00", true),
            (#""type":"date""#, "2026-01-31", "2026-02-01", false),
            (#""type":"number""#, 1, .number(1), true), (#""type":"number""#, .number(0.1), .number(0.2), false),
            (#""type":"number""#, 9_007_199_254_740_993, 9_007_199_254_740_992, false),
            (#""type":"number""#, 0, .number(-0.0), true),
            (#""type":"url""#, "https://a.b/c", "https://a.b/C", false),
            (#""type":"select","values":["a","b"]"#, "a", "b", false),
        ] as [(String, JSON, JSON, Bool)]
    )
    func `the unique key of two values tells whether they are one`(
        _ definition: String,
        _ one: JSON,
        _ two: JSON,
        _ isSame: Bool
    ) throws {
        let field = try field(definition)
        #expect((Array(field.uniqueKey(of: one).utf8) == Array(field.uniqueKey(of: two).utf8)) == isSame)
    }
}
