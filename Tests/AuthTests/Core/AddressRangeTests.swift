import Testing

@testable import Auth

struct AddressRangeTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.0.0.0", true), ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "9.255.255.255", false),
        ("10.1.2.3/8", "10.9.9.9", true), ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.0/31", "192.0.2.1", true),
        ("192.0.2.0/31", "192.0.2.2", false), ("192.0.2.128/25", "192.0.2.127", false),
        ("192.0.2.128/25", "192.0.2.200", true),
        ("0.0.0.0/0", "203.0.113.7", true), ("0.0.0.0/0", "::1", false), ("::/0", "2001:db8::1", true),
        ("::/0", "192.0.2.1", false),
        ("::1", "::1", true), ("::1", "0:0:0:0:0:0:0:1", true), ("::1", "::2", false), ("fd00::/8", "fdff:1::", true),
        ("fd00::/8", "fe00::", false),
        ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false),
        ("2001:DB8::/32", "2001:db8::1", true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("::ffff:10.1.2.3", "10.1.2.3", true),
        ("10.0.0.0/8", "::10.1.2.3", false),
        ("10.0.0.0/8", "local", false), ("10.0.0.0/8", "", false), ("10.0.0.0/8", "10.1", false),
        ("10.0.0.0/8", "10.0.0.1:80", false),
        ("10.0.0.0/8", "010.0.0.1", false), ("10.0.0.0/8", "0xa.0.0.1", false), ("10.0.0.0/8", "167772161", false),
    ])
    func `an address is in a range by its first bits`(_ range: String, _ address: String, _ isInside: Bool) throws {
        #expect(try #require(AddressRange(parsing: range)).contains(address) == isInside)
    }

    @Test(arguments: [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/x", "10.0.0/8",
        "10.0.0.256", "example.org", "localhost",
        "::/129", "::1/", ":::", "fe80::1%eth0", "10.0.0.0 /8", " 10.0.0.0/8", "10.0.0.0/ 8", "[::1]", "*",
    ])
    func `what is no range is refused`(_ text: String) {
        #expect(AddressRange(parsing: text) == nil)
    }

    @Test func `a list is read whole or not at all`() {
        #expect(AddressRange.list(parsing: "") == [])
        #expect(AddressRange.list(parsing: " , ,") == [])
        #expect(AddressRange.list(parsing: "10.0.0.0/8, ::1 ,192.0.2.1")?.count == 3)
        #expect(AddressRange.list(parsing: "10.0.0.0/8,nonsense") == nil)
        #expect(AddressRange.list(parsing: "10.0.0.0/8 ::1") == nil)
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false), ("2001:db8::1", "2001:db8::2", true),
        ("2001:db8::1", "2001:db8:0:0:ffff::", true), ("2001:db8::1", "2001:db8:0:1::1", false),
        ("2001:DB8::1", "2001:db8::1", true),
        ("::ffff:192.0.2.1", "192.0.2.1", true), ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ("local", "local", true), ("local", "192.0.2.1", false),
    ])
    func `limits count an IPv4 address, or the network of an IPv6 one`(_ one: String, _ two: String, _ isSame: Bool) {
        #expect((AddressRange.limitKey(one) == AddressRange.limitKey(two)) == isSame)
    }
}

struct ClientAddressTests {
    private static let proxies = ["10.0.0.0/8", "::1"]

    private func resolve(_ socket: String, _ forwarded: [String], trusting proxies: [String] = Self.proxies) -> String {
        ClientAddress.resolve(socket: socket, forwardedFor: forwarded, trusted: proxies.compactMap(AddressRange.init))
    }

    @Test(arguments: [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"), ("::1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        // What a client wrote itself stands left of what the proxy added.
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.9, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2, 10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7,10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"), ("10.0.0.1", [" 203.0.113.7 "], "203.0.113.7"),
        ("10.0.0.1", ["nonsense, 203.0.113.7"], "203.0.113.7"),
    ])
    func `behind a trusted proxy it is the last address that is no proxy`(
        _ socket: String,
        _ forwarded: [String],
        _ expected: String
    ) {
        #expect(resolve(socket, forwarded) == expected)
    }

    @Test(arguments: [
        ("203.0.113.7", ["198.51.100.1"]), ("203.0.113.7", ["10.0.0.1"]), ("203.0.113.7", ["127.0.0.1, ::1"]),
        ("11.0.0.1", ["198.51.100.1"]),
        ("10.0.0.1", []), ("10.0.0.1", [""]), ("10.0.0.1", ["10.0.0.2"]), ("10.0.0.1", ["unknown"]),
        ("10.0.0.1", ["198.51.100.1, unknown"]),
        ("10.0.0.1", ["198.51.100.1,"]), ("10.0.0.1", ["203.0.113.7:443"]), ("10.0.0.1", ["[2001:db8::7]"]),
        ("10.0.0.1", ["example.org"]),
        ("10.0.0.1", ["for=203.0.113.7"]), ("local", ["203.0.113.7"]),
    ])
    func `else it is the socket's`(_ socket: String, _ forwarded: [String]) {
        #expect(resolve(socket, forwarded) == socket)
    }

    @Test func `without trusted proxies headers count for nothing`() {
        for socket in ["10.0.0.1", "127.0.0.1", "::1", "203.0.113.7", "local"] {
            #expect(resolve(socket, ["198.51.100.1"], trusting: []) == socket)
        }
    }
}
