import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

@Suite struct SettingsTests {
    private static let path = "/api/admin/settings"

    @Test(arguments: Engine.available)
    func `a change is partial, is read back, and null goes back to the default`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let before = try await server.get(Self.path, token: admin).data()
        #expect(before["auth.user.window_seconds"] == "604800")
        #expect(before["rate_limit.rules"] == "auth=10/3 *=300/10")
        let changed = try await server.send(.patch, Self.path, ["auth.user.window_seconds": "120"], token: admin)
        #expect(try changed.data()["auth.user.window_seconds"] == "120")
        #expect(try changed.data()["password.min_length"] == "8")
        #expect(changed.json["warnings"] == nil)
        let reset = try await server.send(.patch, Self.path, ["auth.user.window_seconds": .null], token: admin).data()
        #expect(reset["auth.user.window_seconds"] == "604800")
        #expect(try await server.audit().filter { $0 == "settings.changed" }.count == 3)
    }

    @Test(arguments: Engine.available)
    func `seed 002's curl works although it says nothing of JSON`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let reply = try await server.send(
            .patch,
            Self.path,
            token: try await server.admin(),
            headers: [.contentType: "application/x-www-form-urlencoded"],
            raw: Array(#"{"auth.anonymous.window_seconds": "86400"}"#.utf8)
        )
        #expect(try reply.data()["auth.anonymous.window_seconds"] == "86400")
    }

    @Test(arguments: Engine.available)
    func `a bad window is stored and warned about, and the default used`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await server.signUp("ada@example.org")
        for (text, seconds) in [
            ("59", 604_800), ("60", 60), ("31536000", 31_536_000), ("31536001", 604_800), ("week", 604_800),
            ("", 604_800),
        ] {
            let reply = try await server.send(
                .patch,
                Self.path,
                ["auth.user.window_seconds": .string(text)],
                token: admin
            )
            #expect(try reply.data()["auth.user.window_seconds"] == .string(text))
            let isBad = seconds == 604_800
            #expect((reply.json["warnings"]?["auth.user.window_seconds"] != nil) == isBad, "\(text)")
            let token = try await server.signIn("ada@example.org")
            let expiry = try await server.get("/api/auth/me", token: token).data()["exp"]
            #expect(expiry == .integer(server.clock.now.seconds + Int64(seconds)), "\(text)")
        }
    }

    @Test(arguments: Engine.available)
    func `what can't be is refused whole`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let wrong: [(String, JSON)] = [
            ("auth.colour", "1"), ("oauth2.nobody.client_id", "x"), ("rate_limit.enabled", "yes"),
            ("password.min_length", "0"),
            ("password.min_length", "257"), ("auth.mfa.required", "some"), ("app.url", "ftp://x"),
            ("rate_limit.rules", "10 per 3"),
            ("security.trusted_proxies", "10.0.0.0/33"), ("cors.origins", "example.org"), ("smtp.port", "70000"),
            ("smtp.port", 25),
            ("auth.lockout.max_attempts", true), ("outbound.allowed_hosts", "a b"), ("app.url", ["x"]),
            ("smtp.from", "a\u{0}b"), ("smtp.pass", "a\u{0}b"), ("auth.user.window_seconds", "1\u{0}"),
        ]
        for (key, value) in wrong {
            let reply = try await server.send(
                .patch,
                Self.path,
                .object([MemberName(key): value, "password.blocklist": "0"]),
                token: admin
            )
            #expect(reply.status == 422, "\(key)")
            #expect(reply.details?[key] != nil)
        }
        #expect(try await server.get(Self.path, token: admin).data()["password.blocklist"] == "1")
    }

    @Test(arguments: Engine.available)
    func `secrets are sealed at rest and masked, and the mask changes nothing`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let reply = try await server.send(
            .patch,
            Self.path,
            ["smtp.pass": "hunter2hunter2", "oauth2.oidc-corp.client_secret": "topsecret"],
            token: admin
        )
        #expect(try reply.data()["smtp.pass"] == .string(SettingsChanges.mask))
        #expect(try reply.data()["oauth2.oidc-corp.client_secret"] == .string(SettingsChanges.mask))
        #expect(try reply.data()["oauth2.google.client_secret"] == "")
        #expect(
            try await server.count(
                "SELECT count(*) AS count FROM settings WHERE value LIKE '%hunter%' OR value LIKE '%topsecret%'"
            ) == 0
        )
        #expect(try await server.count("SELECT count(*) AS count FROM audit_log WHERE details LIKE '%hunter%'") == 0)
        _ = try await server.send(.patch, Self.path, ["smtp.pass": .string(SettingsChanges.mask)], token: admin).data()
        #expect(try await server.services.settings().text("smtp.pass") == "hunter2hunter2")
        _ = try await server.send(.patch, Self.path, ["smtp.pass": ""], token: admin).data()
        #expect(try await server.get(Self.path, token: admin).data()["smtp.pass"] == "")
    }

    @Test(arguments: Engine.available)
    func `a feature that is off answers 422 and says how to enable it`(_ engine: Engine) async throws {
        let probes = Feature.allCases.map { feature in
            Route(
                .post,
                "/api/probe/\(feature.rawValue)",
                .open,
                "A probe",
                limit: .auth,
                feature: feature,
                takes: .object([]),
                gives: .any
            ) { _ in .data(true) }
        }
        let server = try await TestServer(engine, probes: probes)
        for feature in Feature.allCases {
            let path = "/api/probe/\(feature.rawValue)"
            try await server.set([feature.key: nil])
            #expect(try await server.post(path, [:]).status == (feature.isOnByDefault ? 200 : 422))
            for (value, isOn) in [("1", true), ("0", false), ("true", true), ("false", false)] {
                try await server.set([feature.key: value])
                // The flag is judged before the body.
                let reply = try await server.send(.post, path, raw: Array("{".utf8))
                #expect(reply.code == (isOn ? "malformed" : "feature_disabled"))
                #expect(
                    isOn || reply.error?.contains("is disabled") == true && reply.error?.contains(feature.key) == true
                )
            }
        }
    }
}
