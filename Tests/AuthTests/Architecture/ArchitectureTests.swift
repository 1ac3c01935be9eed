import Foundation
import Testing

/// The rules of design §2 that a compiler can't hold, read off the sources.
@Suite struct ArchitectureTests {
    private struct Source {
        let path: String
        let lines: [Substring]

        var name: String { path.split(separator: "/").last.map(String.init) ?? path }
        var code: [Substring] { lines.filter { !$0.drop(while: \.isWhitespace).hasPrefix("//") } }
    }

    private let sources: [Source]

    init() throws {
        let root = Repository.path("Sources")
        let files =
            FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }
            ?? []
        sources = try files.map { path in
            let text = try String(contentsOfFile: root + "/" + path, encoding: .utf8)
            return Source(path: path, lines: text.split(separator: "\n", omittingEmptySubsequences: false).map { $0 })
        }
        try #require(sources.count > 50)
    }

    @Test func `only the HTTP folder and App know Hummingbird`() {
        for source in sources where !source.path.contains("/HTTP/") && source.name != "App.swift" {
            #expect(!source.lines.contains("import Hummingbird"), "\(source.path)")
        }
    }

    @Test func `SQL stands in stores, the schema and the storage engine only`() {
        let words = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE"]
        for source in sources
        where !source.path.hasPrefix("Storage/") && !source.path.contains("/Schema/")
            && !source.name.hasSuffix("Store.swift")
        {
            // A filter and a health check make one condition each.
            if source.name == "RecordFilter.swift" || source.name == "HealthRoutes.swift" { continue }
            for line in source.code { #expect(!words.contains { line.contains($0) }, "\(source.path): \(line)") }
        }
    }

    @Test func `routes hold no SQL, time or chance`() {
        for source in sources where source.name.hasSuffix("Routes.swift") && source.name != "HealthRoutes.swift" {
            for line in source.code {
                #expect(
                    !line.contains("db.write") && !line.contains("db.read") && !line.contains("clock.now()")
                        && !line.contains("random.bytes"),
                    "\(source.path): \(line)"
                )
            }
        }
    }

    @Test func `time and chance come from the services`() {
        let banned = [
            "Date()", "Date.now", "UUID()", ".random(", "Task.sleep", " print(", "try!", "as!", "fatalError",
            "@unchecked", "nonisolated(unsafe)",
        ]
        let allowed: Set<String> = [
            "Auth/Installation.swift Date()",  // where the clock of the services is made
            "Auth/Background/Sweeper.swift Task.sleep", "Auth/Background/Lease.swift Task.sleep",
            "Auth/Background/RateSharing.swift Task.sleep", "Auth/Background/MemoryReturn.swift Task.sleep",
            "Auth/Audit/AuditChain.swift Task.sleep",
            "Auth/Email/Delivery.swift Task.sleep", "Auth/HTTP/Connections/Draining.swift Task.sleep",
            "Auth/Email/MailDesk.swift Task.sleep", "Auth/DatabaseMove.swift Task.sleep",
            "Storage/SQLite/SQLiteDatabase.swift Task.sleep",
        ]
        for source in sources {
            for word in banned where !allowed.contains("\(source.path) \(word)") {
                #expect(!source.code.contains { $0.contains(word) }, "\(source.path): \(word)")
            }
        }
    }

    @Test func `files are at most 400 lines and functions at most 70`() {
        for source in sources {
            let isData = source.name == "CommonPasswords.swift"
            #expect(source.lines.count <= 400 || isData, "\(source.path): \(source.lines.count)")
            var start: (line: Int, indent: Int)?
            for (number, line) in source.lines.enumerated() {
                let indent = line.prefix { $0 == " " }.count
                if line.contains("func ") && line.hasSuffix("{") { start = (number, indent) }
                if let (first, depth) = start, indent == depth, line.drop(while: \.isWhitespace) == "}" {
                    #expect(number - first <= 70, "\(source.path):\(first + 1)")
                    start = nil
                }
            }
        }
    }

    @Test func `every flow has its parts, its page and its tests`() throws {
        let flows = try FileManager.default.contentsOfDirectory(atPath: Repository.path("Sources/Auth/Flows"))
        for flow in flows {
            let files = try FileManager.default.contentsOfDirectory(
                atPath: Repository.path("Sources/Auth/Flows/\(flow)")
            )
            #expect(files.contains { $0.hasSuffix("Routes.swift") }, "\(flow)")
            #expect(
                FileManager.default.fileExists(atPath: Repository.path("docs/flows/\(flow.lowercased()).md")),
                "\(flow)"
            )
            #expect(FileManager.default.fileExists(atPath: Repository.path("Tests/AuthTests/Flows/\(flow)")), "\(flow)")
        }
    }
}
