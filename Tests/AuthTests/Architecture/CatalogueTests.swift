import Foundation
import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// Documents and golden files against what the code says.
///
/// `LATCHKEY_UPDATE_GOLDEN=1` writes the golden files anew.
@Suite struct CatalogueTests {
    @Test func `docs/errors.md lists every code with its status, and no other`() throws {
        let documented = try rows("docs/errors.md", columns: 2).map { "\($0[0]) \($0[1])" }
        #expect(documented.sorted() == AuthError.Code.allCases.map { "\($0.rawValue) \($0.status)" }.sorted())
    }

    @Test func `docs/settings.md lists every setting with its default, and no other`() throws {
        let documented = try rows("docs/settings.md", columns: 2).map { "\($0[0]) \($0[1])" }
        let settings = SettingsCatalogue.definitions.map { definition in
            "\(Self.family(of: definition.key)) \(definition.defaultValue.isEmpty ? "–" : definition.defaultValue)"
        }
        #expect(Set(documented) == Set(settings))
        #expect(documented.count == Set(documented).count)
    }

    @Test func `docs/audit.md lists every event, and no other`() throws {
        #expect(
            try rows("docs/audit.md", columns: 1).map { $0[0] }.sorted() == AuditEvent.allCases.map(\.rawValue).sorted()
        )
    }

    @Test func `the golden file lists every route with its guard`() async throws {
        let server = try await TestServer(.sqlite)
        let lines = server.app.routes.map { route in
            "\(route.method.rawValue) \(route.path) — \(route.admits.rawValue)\(route.isForPersons ? ", a person" : "")"
        }.sorted()
        try compare(lines.joined(separator: "\n") + "\n", "Tests/Golden/routes.txt")
    }

    @Test(arguments: Engine.available.filter { $0 != .postgresSingle })
    func `the golden files hold the schema of each engine`(_ engine: Engine) async throws {
        let db = try await engine.open(Schema.migrations)
        try compare(try await db.schema(), "Tests/Golden/schema.\(engine).sql")
    }

    @Test func `the digests of the released migrations stand`() throws {
        let digests = Schema.migrations.map { "\($0.number) \($0.name) \($0.digest)\n" }.joined()
        try compare(digests, "Tests/Golden/migrations.txt")
    }

    @Test func `the OpenAPI document and the routes are the same set`() async throws {
        let server = try await TestServer(.sqlite)
        let document = try await server.get("/api/openapi.json").json
        guard case .object(let paths)? = document["paths"] else { throw CocoaError(.coderReadCorrupt) }
        var documented: Set<String> = []
        for (path, operations) in paths {
            guard case .object(let operations) = operations else { continue }
            for method in operations.keys { documented.insert("\(method.text.uppercased()) \(path)") }
        }
        #expect(documented == Set(server.app.routes.map { "\($0.method.rawValue) \(OpenAPI.template($0.path))" }))
        // The other way: what the document tells is answered by the router.
        for route in server.app.routes {
            let segments = OpenAPI.template(route.path).replacing("{", with: "").replacing("}", with: "").split(
                separator: "/"
            ).map(String.init)
            guard case .found(let found, _) = server.app.responder.table.match(route.method, segments) else {
                Issue.record("\(route.path) is not found")
                continue
            }
            #expect(found.path == route.path)
        }
    }

    private static func family(of key: String) -> String {
        var parts = key.split(separator: ".").map(String.init)
        guard parts.count == 3 else { return key }
        let specific = [
            "oauth2.apple.team_id", "oauth2.apple.key_id", "oauth2.apple.private_key", "oauth2.oidc.display_name",
            "oauth2.oidc.client_authentication",
        ]
        if parts[0] == "oauth2", !specific.contains(key) { parts[1] = "<provider>" }
        if parts[0] == "email" { parts[1] = "<template>" }
        return parts.joined(separator: ".")
    }

    /// The first cells of the table rows whose first cell is code, without their backticks.
    private func rows(_ path: String, columns: Int) throws -> [[String]] {
        try String(contentsOfFile: Repository.path(path), encoding: .utf8).split(separator: "\n").filter {
            $0.hasPrefix("| `")
        }.map { line in
            line.split(separator: "|").prefix(columns).map {
                $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
            }
        }
    }

    private func compare(_ text: String, _ path: String) throws {
        let file = Repository.path(path)
        if ProcessInfo.processInfo.environment["LATCHKEY_UPDATE_GOLDEN"] == "1" {
            try FileManager.default.createDirectory(
                atPath: Repository.path("Tests/Golden"),
                withIntermediateDirectories: true
            )
            try text.write(toFile: file, atomically: true, encoding: .utf8)
        }
        #expect(try String(contentsOfFile: file, encoding: .utf8) == text, "\(path) differs; see CONTRIBUTING.md")
    }
}

enum Repository {
    static func path(_ relative: String) -> String {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { root.deleteLastPathComponent() }
        return root.appendingPathComponent(relative).path
    }
}
