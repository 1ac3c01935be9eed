import Testing

@testable import Auth

/// Where sign-in by a provider may lead back to.
@Suite struct RedirectURITests {
    static let good = [
        "https://app.example.com/callback", "https://app.example.com", "https://app.example.com:8443/cb?tenant=1",
        "http://app.example.com/cb", "http://localhost:3000/cb", "http://127.0.0.1:49152/cb", "http://[::1]:3000/cb",
        "com.example.app:/oauth2redirect",
        "com.example.app://callback", "myapp://callback",
    ]
    static let bad = [
        "", "/callback", "app.example.com/callback", "//app.example.com/cb", "http:///cb",
        "https://app.example.com/cb#fragment", "https://user:pass@app.example.com/cb", "https:///cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://app.example.com/a b",
        "https://app.example.com/\r\nX: 1", "https://app.example.com\\@evil.example/",
        "ws://app.example.com/",
        "https://app.example.com/" + String(repeating: "a", count: 2000),
        "https://äpp.example.com/cb",
    ]

    @Test(arguments: good)
    func `an address of an application is taken`(_ uri: String) {
        #expect(RedirectRules("", "").problem(with: uri) == nil)
    }

    @Test(arguments: bad)
    func `what is none, or what a browser would run, is refused`(_ uri: String) {
        #expect(RedirectRules("", "").problem(with: uri) != nil)
    }

    private static let list = """
        https://app.example.com/callback, https://one.example.com/cb
        https://*.example.com/cb https://sub.example.com/auth/* com.example.app:/cb
        """
    static let listed: [(String, Bool)] = [
        ("https://app.example.com/callback", true), ("https://one.example.com/cb", true), ("com.example.app:/cb", true),
        ("https://app.example.com/callback/", false), ("https://app.example.com/Callback", false),
        ("https://app.example.com/callback?x=1", false), ("https://app.example.com:443/callback", false),
        ("https://app.example.com.evil.example/callback", false), ("https://APP.example.com/callback", false),
        ("https://sub.example.com/auth/", true), ("https://sub.example.com/auth/a/b?c=d", true),
        ("https://sub.example.com/auth", false), ("https://sub.example.com/authentic", false),
        ("https://sub.example.com/auth/../admin", false), ("https://sub.example.com/auth/%2e%2e/admin", false),
        ("https://sub.example.com/auth/%2E./admin", false), ("https://evil.example/cb", false),
        ("https://a.example.com/cb", false), ("https://sub.example.com/auth/%252e%252e/admin", false),
        ("https://sub.example.com/auth/a?back=%252e..%2e", true),
    ]

    @Test(arguments: listed)
    func `with a list, it is one of it exactly, or below one that ends in a star`(_ uri: String, _ isAllowed: Bool) {
        #expect((RedirectRules(Self.list, "").problem(with: uri) == nil) == isAllowed)
        // The list for all and the provider's own count alike.
        #expect((RedirectRules("", Self.list).problem(with: uri) == nil) == isAllowed)
    }

    static let settings: [(String, Bool)] = [
        ("", true), ("https://app.example.com/cb", true), ("https://app.example.com/*", true),
        ("https://app.example.com/cb, myapp://cb", true), ("https://app.example.com*", false), ("https://*", false),
        ("*", false), ("https://*.example.com/cb", false), ("https:///*", false), ("http://app.example.com/cb", true),
        ("javascript:*", false), ("https://app.example.com/a*", false), ("not a uri", false),
    ]

    @Test(arguments: settings)
    func `a star stands only behind a path`(_ list: String, _ isGood: Bool) {
        #expect((RedirectRules.problem(with: list) == nil) == isGood, "\(list)")
    }
}
