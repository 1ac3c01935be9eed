import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Testing

@testable import Auth

/// What the server asks of others, and what it doesn't.
@Suite struct OutboundTests {
    static let publicAddresses = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::808:808"]
    static let otherAddresses = [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1",
        "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "100::1", "fec0::1", "::127.0.0.1",
    ]

    @Test(arguments: publicAddresses)
    func `what everybody reaches is public`(_ address: String) throws {
        #expect(PublicAddress.holds(try #require(AddressRange.bytes(of: address))))
    }

    @Test(arguments: otherAddresses)
    func `what is near or reserved is not public`(_ address: String) throws {
        #expect(!PublicAddress.holds(try #require(AddressRange.bytes(of: address))))
    }

    static let destinations: [(url: String, allowed: String, isNamed: Bool?)] = [
        ("https://idp.example/token", "", false), ("http://idp.example/token", "", nil),
        ("http://idp.example/token", "idp.example", true), ("http://IDP.example/token", "Idp.Example", true),
        ("http://idp.example:8080/token", "idp.example:8080", true),
        ("http://idp.example:8081/token", "idp.example:8080", nil),
        ("https://idp.example/token", "idp.example:443", true), ("http://idp.example/token", "idp.example:443", nil),
        ("https://idp.example.evil.example/", "idp.example", false), ("http://127.0.0.1:9/", "127.0.0.1:9", true),
        ("http://[::1]:9/", "[::1]:9", true), ("ftp://idp.example/", "idp.example", nil),
        ("file:///etc/passwd", "", nil),
        ("https://user@idp.example/", "idp.example", nil), ("https://idp.example\\@evil.example/", "idp.example", nil),
        ("https:///", "", nil), ("idp.example", "idp.example", nil), ("", "", nil),
    ]

    @Test(arguments: destinations)
    func `only https, unless the operator has named the host`(_ url: String, _ allowed: String, _ isNamed: Bool?) {
        let policy = OutboundPolicy(Settings(stored: ["outbound.allowed_hosts": allowed]))
        #expect((try? policy.destination(url))?.isNamed == isNamed)
    }

    // MARK: Over the wire

    private struct Peer {
        let url: String
        let policy: OutboundPolicy

        func get(_ path: String, headers: [String] = []) async throws -> OutboundAnswer {
            try await OutboundClient.live.send(.get(url + path, headers: headers), policy)
        }
    }

    /// Runs `body` with a server on a loopback address that may be asked.
    private func withPeer(_ body: @escaping @Sendable (Peer) async throws -> Void) async throws {
        let router = Router()
        router.get("/echo") { request, _ in request.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n") }
        router.post("/echo") { request, _ in
            let body = try await request.body.collect(upTo: 10_000)
            return "\(request.headers[.contentType] ?? "") \(String(buffer: body))"
        }
        router.get("/moved") { _, _ in Response.redirect(to: "/echo", type: .normal) }
        router.get("/large") { _, _ in String(repeating: "x", count: OutboundClient.bodyBytesMax + 1) }
        router.get("/full") { _, _ in String(repeating: "x", count: OutboundClient.bodyBytesMax) }
        router.get("/headers") { _, _ in
            let text = String(repeating: "x", count: 70_000)
            return Response(status: .ok, headers: [HTTPField.Name("X-Long")!: text])
        }
        router.get("/failed") { _, _ in Response(status: .serviceUnavailable) }
        var logger = Logger(label: "peer")
        logger.logLevel = .critical
        let (ports, port) = AsyncStream<Int>.makeStream()
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in port.yield(channel.localAddress?.port ?? 0) },
            logger: logger
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.run() }
            for await port in ports.prefix(1) {
                let host = "127.0.0.1:\(port)"
                let policy = OutboundPolicy(Settings(stored: ["outbound.allowed_hosts": host]))
                try await body(Peer(url: "http://\(host)", policy: policy))
            }
            group.cancelAll()
        }
    }

    @Test func `requests arrive as they are meant, and redirects are not followed`() async throws {
        try await withPeer { peer in
            let headers = String(decoding: try await peer.get("/echo", headers: ["X-Test: 1"]).body, as: UTF8.self)
            #expect(headers.contains("User-Agent: Latchkey/") && headers.contains("Accept: application/json"))
            #expect(headers.lowercased().contains("x-test: 1"))
            let form = OutboundRequest.post(peer.url + "/echo", form: [("a b", "c&d=é")])
            let answer = try await OutboundClient.live.send(form, peer.policy)
            #expect(
                String(decoding: answer.body, as: UTF8.self) == "application/x-www-form-urlencoded a%20b=c%26d%3D%C3%A9"
            )
            #expect(try await peer.get("/moved").status == 303)
            #expect(try await peer.get("/failed").status == 503)
            #expect(try await peer.get("/nowhere").status == 404)
        }
    }

    @Test func `large answers and headers are cut off`() async throws {
        try await withPeer { peer in
            let full = try await peer.get("/full")
            #expect(full.body.count == OutboundClient.bodyBytesMax)
            await #expect(throws: OutboundFailure.tooLarge) { try await peer.get("/large") }
            await #expect(throws: OutboundFailure.tooLarge) { try await peer.get("/headers") }
            // The client goes on.
            let answer = try await peer.get("/echo")
            #expect(answer.status == 200)
        }
    }

    @Test func `many at once are answered, each its own`() async throws {
        try await withPeer { peer in
            let answers = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        let body = try await peer.get("/echo", headers: ["X-Test: number-\(number)-"]).body
                        return String(decoding: body, as: UTF8.self).contains("number-\(number)-")
                    }
                }
                return try await group.reduce(into: [Bool]()) { $0.append($1) }
            }
            #expect(answers.count == 50 && !answers.contains(false))
        }
    }

    @Test func `a private address is not connected to, by whatever name, even when the host was allowed before`()
        async throws
    {
        try await withPeer { peer in
            _ = try await peer.get("/echo")
            let port = peer.url.split(separator: ":").last ?? ""
            let closed = OutboundPolicy(Settings(stored: [:]))
            for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0"]
            {
                let request = OutboundRequest.get("https://\(host):\(port)/echo")
                await #expect(throws: OutboundFailure.addressNotAllowed, "\(host)") {
                    try await OutboundClient.live.send(request, closed)
                }
            }
        }
    }

    @Test func `nobody there, no such name and headers with line ends are failures`() async throws {
        let policy = OutboundPolicy(Settings(stored: ["outbound.allowed_hosts": "127.0.0.1:1"]))
        for request in [
            OutboundRequest.get("http://127.0.0.1:1/"), .get("https://no-such-host.invalid/"),
            .get("http://127.0.0.1:1/", headers: ["X-Test: 1\r\nX-Other: 2"]),
        ] {
            await #expect(throws: OutboundFailure.self) { try await OutboundClient.live.send(request, policy) }
        }
    }
}
