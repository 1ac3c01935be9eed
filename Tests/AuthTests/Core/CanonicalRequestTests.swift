import Testing

@testable import Auth

struct CanonicalRequestTests {
    private func code(_ target: String) -> String {
        do {
            let request = try CanonicalRequest(target: target)
            _ = try request.query()
            return request.path
        } catch {
            return (error as? AuthError)?.code.rawValue ?? "\(error)"
        }
    }

    @Test(arguments: [
        "/api/auth/users/login", "/api/v1/auth/users/login", "//api//auth//users//login", "/api/auth/users/login/",
        "/./api/./auth/users/login",
        "/api/x/../auth/users/login", "/../../api/auth/users/login", "/api/%61uth/users/login",
        "/%61%70%69/auth/users/login",
        "/api/%2e/auth/users/login", "/api/x/%2e%2e/auth/users/login", "/api/x/%2E./auth/users/login",
        "/api/v1/../v1/auth/users/login",
        "/api/auth/users/login?x=1", "/api/auth/users/login?", "/api/auth/users/login/?a=/../..",
        "http://example.org/api/auth/users/login",
        "https://example.org:8090/api/auth/users/login?x=1", "/api/%76%31/auth/users/login",
        "/api//v1/auth/users/login", "/v2/../api/auth/users/login",
    ])
    func `every spelling of a path is one path`(_ target: String) throws {
        let request = try CanonicalRequest(target: target)
        #expect(request.segments == ["api", "auth", "users", "login"])
        #expect(request.path == "/api/auth/users/login")
    }

    @Test(
        arguments: [
            ("/", []), ("", []), ("//", []), ("/..", []), ("/.", []), ("/?", []),
            ("/users/me/recover", ["api", "users", "me", "recover"]),
            ("/users", ["api", "users"]), ("/%75sers/1", ["api", "users", "1"]),
            ("/x/../users/1", ["api", "users", "1"]), ("/api/users/1", ["api", "users", "1"]),
            ("/api/v1/users/1", ["api", "users", "1"]), ("/api/v1", ["api"]), ("/api/v1/v1", ["api", "v1"]),
            ("/v1/users", ["v1", "users"]),
            ("/API/Users", ["API", "Users"]), ("/api/V1/x", ["api", "V1", "x"]),
            ("/.well-known/jwks.json", [".well-known", "jwks.json"]), ("/...", ["..."]),
            ("/a%20b", ["a b"]), ("/a+b", ["a+b"]), ("/a%2Bb", ["a+b"]), ("/%C3%A9", ["é"]), ("/a%3Fb=1", ["a?b=1"]),
            ("/api/;x=1/me", ["api", ";x=1", "me"]),
            ("/http://evil/x", ["http:", "evil", "x"]), ("http://example.org", []), ("http://example.org?x=1", []),
            ("http://example.org/", []),
        ] as [(String, [String])]
    )
    func `a path is cut into its segments`(_ target: String, _ segments: [String]) throws {
        #expect(try CanonicalRequest(target: target).segments == segments)
    }

    /// Decoded once: what is still an escape after that is a name, and a decoded slash cuts nothing.
    @Test(arguments: [
        ("/api/%252e%252e/me", ["api", "%2e%2e", "me"]), ("/api%2Fadmin", ["api/admin"]),
        ("/x/%2e%2e%2fadmin", ["x", "../admin"]),
        ("/api/%5c..%5cadmin", ["api", "\\..\\admin"]), ("/api/..;/admin", ["api", "..;", "admin"]),
        ("/%2561pi", ["%61pi"]),
    ])
    func `an escape is decoded once`(_ target: String, _ segments: [String]) throws {
        #expect(try CanonicalRequest(target: target).segments == segments)
    }

    @Test(arguments: [
        "/%", "/%2", "/%zz", "/%2g", "/a%", "/%00", "/a%00b", "/\u{0}", "/%ff", "/%C3", "/%c0%ae%c0%ae/admin",
        "/%ed%a0%80", "/%-1", "/% 1", "/%+1", "/%u0041",
        "/x?a=%", "/x?%zz=1", "/x?a=%00", "/x?a=%ff", "/x?\u{0}",
    ])
    func `what can not be read is malformed`(_ target: String) {
        #expect(code(target) == "malformed")
    }

    @Test func `a target has at most 8192 bytes`() {
        #expect(code("/" + String(repeating: "a", count: 8191)).count == 8192)
        #expect(code("/" + String(repeating: "a", count: 8192)) == "malformed")
        #expect(code("/x?" + String(repeating: "a", count: 8190)) == "malformed")
    }

    @Test func `text of a target that is not ASCII is percent-encoded, and stream-safe`() {
        #expect(code("/é") == "malformed")
        #expect(code("/x?a=é") == "malformed")
        let mark = "%CC%81"
        #expect(code("/a" + String(repeating: mark, count: 30)) != "malformed")
        #expect(code("/a" + String(repeating: mark, count: 31)) == "malformed")
        #expect(code("/x?a=" + String(repeating: mark, count: 31)) == "malformed")
        #expect(code("/x?a" + String(repeating: mark, count: 31)) == "malformed")
    }

    @Test func `a query has at most 1000 parts, with names of at most 128 bytes`() {
        #expect(code("/x?" + (0..<1000).map { "\($0)" }.joined(separator: "&")) == "/x")
        #expect(code("/x?" + (0..<1001).map { "\($0)" }.joined(separator: "&")) == "malformed")
        #expect(code("/x?" + String(repeating: "a", count: 128) + "=1") == "/x")
        #expect(code("/x?" + String(repeating: "a", count: 129) + "=1") == "malformed")
    }

    /// The authority of an absolute target ends at the first slash or question mark, whichever comes first (RFC 3986 §3.2).
    @Test(arguments: [
        ("http://example.org?x=/api/admin/settings", "/"), ("http://example.org?/api", "/"),
        ("http://example.org/api?x=/me", "/api"),
        ("http://user@example.org/api", "/api"), ("HTTP://example.org/api", "/api"), ("http://[::1]:80/api", "/api"),
    ])
    func `the query of an absolute target is no path`(_ target: String, _ path: String) {
        #expect(code(target) == path)
    }

    @Test(
        arguments: [
            ("/x", [:]), ("/x?", [:]), ("/x?a=1", ["a": "1"]), ("/x?a=1&b=2", ["a": "1", "b": "2"]),
            ("/x?a", ["a": ""]), ("/x?a=", ["a": ""]), ("/x?=1", ["": "1"]),
            ("/x?a=b=c", ["a": "b=c"]), ("/x?a=1&&b=2&", ["a": "1", "b": "2"]), ("/x?a+b=c+d", ["a b": "c d"]),
            ("/x?a%20b=%2B", ["a b": "+"]),
            ("/x?a=%26&b=%3D", ["a": "&", "b": "="]), ("/x?a=1?2", ["a": "1?2"]), ("/x?a=%C3%A9%c3%a9", ["a": "éé"]),
            ("/x?a=%2525", ["a": "%25"]),
            // The first counts: a second can't replace what was decided by it.
            ("/x?a=1&a=2", ["a": "1"]), ("/x?a=1&%61=2", ["a": "1"]), ("/x?a=&a=2", ["a": ""]),
        ] as [(String, [String: String])]
    )
    func `a query is read into pairs`(_ target: String, _ query: [String: String]) throws {
        #expect(try CanonicalRequest(target: target).query() == query)
    }

    @Test func `a path made from segments is canonical again`() throws {
        let parts = ["api", "v1", "users", "me", "..", ".", "", "%2e%2e", "%2e", "%61", "a b", "x"]
        for seed in 0..<300 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let target =
                "/" + (0..<6).map { _ in parts[Int.random(in: 0..<parts.count, using: &random)] }.joined(separator: "/")
            let once = try CanonicalRequest(target: target)
            #expect(!once.segments.contains(where: { ["", ".", ".."].contains($0) }), "\(target)")
            let twice = try CanonicalRequest(target: once.path)
            // A second `v1` is a name the first time, and stays behind the one that a second reading takes away.
            if once.segments.dropFirst().first != "v1" { #expect(twice.segments == once.segments, "\(target)") }
        }
    }
}
