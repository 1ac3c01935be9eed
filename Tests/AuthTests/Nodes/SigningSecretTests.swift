import Foundation
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// Which secret signs, over nodes and starts.
@Suite struct SigningSecretTests {
    private static let shared = Engine.available.filter { $0 != .sqlite }

    private func kid(_ server: TestServer) async throws -> String {
        let keys = try await server.get("/.well-known/jwks.json").json["keys"]
        guard case .array(let keys)? = keys else { return "" }
        return keys.first?["kid"]?.text ?? ""
    }

    private func secret(_ server: TestServer) throws -> String {
        try String(contentsOfFile: server.services.signingSecrets.file.directory + "/.secret", encoding: .utf8)
    }

    @Test(arguments: Engine.available)
    func `a node without a secret takes the database's`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        #expect(try secret(nodes[0]) == secret(nodes[1]))
        #expect(try await kid(nodes[0]) == kid(nodes[1]))
        #expect(try await nodes[0].audit().contains("signing_secret.replaced") == false)
    }

    @Test(arguments: shared)
    func `a node with a secret of its own is refused, and the others go on`(_ engine: Engine) async throws {
        let dbs = try await engine.openNodes(2, Schema.migrations)
        let node = TestServer.Node(sealingKey: Random.system.bytes(32), isShared: true, isWatching: false)
        let first = try await TestServer(dbs[0], node, settings: [:])
        let token = try await first.signedUp("ada@example.org")
        await #expect(throws: Installation.Unusable.self) {
            _ = try await TestServer(dbs[1], node, settings: nil, secret: "a secret of thirty-two bytes, of its own")
        }
        #expect(try await first.get("/api/auth/me", token: token).status == 200)
    }

    /// A machine that served another database, or its own SQLite, before.
    @Test(arguments: shared, [true, false])
    func `a directory that belonged to another database takes nothing over`(_ engine: Engine, _ hasSecret: Bool)
        async throws
    {
        let dbs = try await engine.openNodes(2, Schema.migrations)
        let node = TestServer.Node(sealingKey: Random.system.bytes(32), isShared: true, isWatching: false)
        let first = try await TestServer(dbs[0], node, settings: [:])
        let token = try await first.signedUp("ada@example.org")
        let other = hasSecret ? "a secret of thirty-two bytes, of its own" : nil
        if hasSecret {
            await #expect(throws: Installation.Unusable.self) {
                _ = try await TestServer(dbs[1], node, settings: nil, secret: other, mark: "somebody-else")
            }
        } else {
            let second = try await TestServer(dbs[1], node, settings: nil, mark: "somebody-else")
            #expect(try secret(second) == secret(first))
        }
        #expect(try await first.get("/api/auth/me", token: token).status == 200)
        #expect(try await first.audit().contains("signing_secret.replaced") == false)
    }

    @Test(arguments: Engine.available)
    func `a rotation reaches every node, and logs nobody out`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        let old = try await kid(nodes[0])
        try await Commands(nodes[1].app.installation).rotateSecret(loggingEveryoneOut: false)
        #expect(try await eventually { try await kid(nodes[0]) != old })
        #expect(try await kid(nodes[0]) == kid(nodes[1]))
        for node in nodes { #expect(try await node.get("/api/auth/me", token: token).status == 200) }
        let new = try await nodes[0].signIn("ada@example.org")
        for node in nodes { #expect(try await node.get("/api/auth/me", token: new).status == 200) }
    }

    @Test(arguments: Engine.available)
    func `a rotation that logs everyone out does so on every node`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        try await Commands(nodes[1].app.installation).rotateSecret(loggingEveryoneOut: true)
        #expect(try await eventually { try await nodes[0].get("/api/auth/me", token: token).status == 401 })
        #expect(try await nodes[1].get("/api/auth/me", token: token).code == "invalid_token")
        #expect(
            try await nodes[1].count("SELECT count(*) AS count FROM signing_secrets WHERE sealed IS NOT NULL") == 1
        )
    }

    @Test(arguments: Engine.available)
    func `a node that was away during a rotation finds the new secret at its start`(_ engine: Engine) async throws {
        let nodes = try await TestServer.nodes(engine)
        let token = try await nodes[0].signedUp("ada@example.org")
        try await Commands(nodes[0].app.installation).rotateSecret(loggingEveryoneOut: false)
        #expect(try secret(nodes[0]) != secret(nodes[1]))
        try await nodes[1].app.installation.prepareSigning()
        #expect(try secret(nodes[0]) == secret(nodes[1]))
        #expect(try await nodes[1].get("/api/auth/me", token: token).status == 200)
    }

    @Test(arguments: Engine.available, [true, false])
    func `a secret that was replaced or deleted where it was in force logs everyone out`(
        _ engine: Engine,
        _ isDeleted: Bool
    ) async throws {
        let server = try await TestServer(engine)
        let token = try await server.signedUp("ada@example.org")
        let path = server.services.signingSecrets.file.directory + "/.secret"
        try FileManager.default.removeItem(atPath: path)
        let other = "another secret of more than thirty-two bytes"
        if !isDeleted { try other.write(toFile: path, atomically: true, encoding: .utf8) }
        try await server.app.installation.prepareSigning()
        #expect(try await server.get("/api/auth/me", token: token).status == 401)
        #expect(try await server.audit().last == "signing_secret.replaced")
        if !isDeleted { #expect(try secret(server) == other) }
        let new = try await server.signIn("ada@example.org")
        #expect(try await server.get("/api/auth/me", token: new).status == 200)
    }

    @Test(arguments: Engine.available)
    func `a secret is not in the database in clear`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let secret = try secret(server).trimmed
        let sealed: [String] = try await server.services.db.read { tx in
            try tx.all("SELECT sealed FROM signing_secrets").map { try $0.get("sealed") }
        }
        #expect(sealed.count == 1)
        #expect(!sealed.contains { $0.contains(secret) || $0.contains(Base64URL.encode(Array(secret.utf8))) })
    }
}
