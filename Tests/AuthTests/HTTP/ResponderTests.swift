import Foundation
import HTTPTypes
import StorageTesting
import Testing

@testable import Auth

@Suite struct ResponderTests {
    @Test(arguments: Engine.available)
    func `every answer has its headers, refusals too`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        for path in ["/api/health", "/api/nowhere", "/api/auth/me", "/setup"] {
            let reply = try await server.get(path)
            #expect(reply.headers[.xRequestID]?.isEmpty == false)
            #expect(reply.headers[.xContentTypeOptions] == "nosniff")
            #expect(reply.headers[.referrerPolicy] == "no-referrer")
            #expect(reply.headers[.xFrameOptions] == "DENY")
            #expect(reply.headers[.cacheControl] == "no-store")
        }
        #expect(try await server.get("/.well-known/jwks.json").headers[.cacheControl] == "public, max-age=300")
        let refused = try await server.get("/api/nowhere")
        #expect(refused.json["request_id"]?.text == refused.headers[.xRequestID])
    }

    @Test(arguments: Engine.available)
    func `checks come in the contract's order`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let user = try await server.signedUp("ada@example.org")
        let junk = Array("{".utf8)
        func send(
            _ method: HTTPRequest.Method,
            _ path: String,
            token: String? = nil,
            type: String? = nil,
            _ raw: [UInt8]
        ) async throws -> Int {
            try await server.send(method, path, token: token, headers: type.map { [.contentType: $0] } ?? [:], raw: raw)
                .status
        }
        #expect(try await send(.post, "/api/auth/nowhere/login", junk) == 404)
        #expect(try await send(.post, "/api/collections", junk) == 401)
        #expect(try await send(.post, "/api/collections", token: user, junk) == 403)
        #expect(try await send(.post, "/api/auth/users/login", type: "text/plain", junk) == 415)
        #expect(try await send(.post, "/api/auth/users/login", Array(repeating: 32, count: Body.bytesMax + 1)) == 413)
        #expect(try await send(.post, "/api/auth/users/login", junk) == 400)
        #expect(try await send(.post, "/api/auth/users/login", Array("{}".utf8)) == 422)
        let wrongMethod = try await server.send(.put, "/api/auth/users/login", [:])
        #expect((wrongMethod.status, wrongMethod.headers[.allow]) == (405, "POST"))
    }

    @Test(arguments: Engine.available)
    func `no spelling of a path reaches another decision`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        for path in [
            "/api/auth/me", "/api/v1/auth/me", "//api//auth//me", "/api/./auth/me", "/api/auth/me/", "/api/auth/%6de",
            "/api/%2e/auth/me",
            "/api/x/../auth/me", "/api/x/%2e%2e/auth/me", "http://evil.example/api/auth/me", "/api/auth/me?x=1",
        ] {
            #expect(try await server.get(path, token: token).status == 200, "\(path)")
            #expect(try await server.get(path).status == 401, "\(path)")
        }
        for path in ["/api/auth%2fme", "/api/v1/v1/auth/me", "/API/auth/me", "/api/auth/me;x", "/..%2fapi/auth/me"] {
            #expect(try await server.get(path, token: token).status == 404, "\(path)")
        }
        for path in ["/api/auth/%", "/api/auth/%zz", "/api/auth/me%00", "/api/auth/%ff"] {
            #expect(try await server.get(path, token: token).code == "malformed", "\(path)")
        }
    }

    @Test(arguments: Engine.available)
    func `HEAD is GET without a body`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let reply = try await server.send(.head, "/api/health")
        #expect(reply.status == 200)
        #expect(reply.bytes.isEmpty)
    }

    @Test(arguments: Engine.available)
    func `any origin may call, or those that are named, and never with cookies`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        func origin(_ origin: String, _ method: HTTPRequest.Method = .get) async throws -> Reply {
            try await server.send(
                method,
                "/api/auth/me",
                headers: [.origin: origin, .accessControlRequestMethod: "POST"]
            )
        }
        #expect(try await origin("https://a.example").headers[.accessControlAllowOrigin] == "*")
        let preflight = try await origin("https://a.example", .options)
        #expect(preflight.status == 204)
        #expect(preflight.headers[.accessControlAllowHeaders] == "Authorization, Content-Type, X-MFA-Code")
        try await server.set(["cors.origins": "https://a.example, https://b.example"])
        let allowed = try await origin("https://b.example")
        #expect(allowed.headers[.accessControlAllowOrigin] == "https://b.example")
        #expect(allowed.headers[.vary] == "Origin")
        #expect(try await origin("https://c.example", .options).headers[.accessControlAllowOrigin] == nil)
        #expect(allowed.headers[.accessControlAllowCredentials] == nil)
        #expect(try await server.send(.options, "/api/auth/me").status == 405)
    }

    @Test(arguments: Engine.available)
    func `limits refuse with the time to wait, by address and by kind of route`(_ engine: Engine) async throws {
        let server = try await TestServer(
            engine,
            settings: ["rate_limit.enabled": "1", "rate_limit.rules": "auth=2/3 *=4/10"]
        )
        func login(_ address: String) async throws -> Reply {
            try await server.send(
                .post,
                "/api/auth/users/login",
                ["email": "x@example.org", "password": "xxxxxxxx"],
                from: address
            )
        }
        for _ in 0..<2 { #expect(try await login("192.0.2.1").status == 401) }
        let refused = try await login("192.0.2.1")
        #expect((refused.status, refused.code) == (429, "rate_limited"))
        #expect(Int(refused.headers[.retryAfter] ?? "").map { (2...5).contains($0) } == true)
        #expect(try await login("192.0.2.2").status == 401)
        // Spelled otherwise, it counts all the same.
        #expect(try await server.send(.post, "//api/v1/auth/users/login/", [:]).status == 429)
        for _ in 0..<4 { #expect(try await server.get("/api/auth/me").status == 401) }
        #expect(try await server.get("/api/auth/me").status == 429)
        #expect(try await server.get("/api/unknown").status == 429)
        for _ in 0..<9 { #expect(try await server.get("/api/health").status == 200) }
        server.clock.advance(seconds: 20)
        #expect(try await login("192.0.2.1").status == 401)
    }

    @Test(arguments: Engine.available)
    func `a client's address comes from a trusted proxy only`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        try await server.signUp("ada@example.org")
        func address() async throws -> String? {
            let reply = try await server.send(
                .post,
                "/api/auth/users/login",
                ["email": "ada@example.org", "password": .string(TestServer.password)],
                headers: [.xForwardedFor: "203.0.113.9, 198.51.100.4, 10.0.0.2"],
                from: "10.0.0.1"
            )
            let token = try reply.data()["token"]?.text
            guard case .array(let sessions) = try await server.get("/api/auth/sessions", token: token).data() else {
                return nil
            }
            return sessions.first { $0["current"] == true }?["ip"]?.text
        }
        #expect(try await address() == "10.0.0.1")
        try await server.set(["security.trusted_proxies": "10.0.0.0/8"])
        #expect(try await address() == "198.51.100.4")
    }

    @Test(arguments: Engine.available)
    func `the credential is taken as Bearer or Basic, and nothing like it`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        func status(_ header: String) async throws -> Int {
            try await server.send(.get, "/api/auth/me", headers: [.authorization: header]).status
        }
        func basic(_ text: String) -> String { "Basic \(Data(text.utf8).base64EncodedString())" }
        for good in [
            "Bearer \(token)", "bearer \(token)", basic("\(token):"), "basic" + basic("\(token):").dropFirst(5),
        ] {
            #expect(try await status(good) == 200)
        }
        for bad in [
            token, "Bearer", "Bearer ", "Bearer  \(token)", "Token \(token)", basic(token), basic("\(token):x"),
            basic(":\(token)"),
            basic("x:\(token)"), "Basic \(token)", "Bearer \(token)=", "Bearer \(token.dropLast())",
            "Bearer \(token.uppercased())", "",
        ] {
            #expect(try await status(bad) == 401, "\(bad.prefix(12))")
        }
    }
}
