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
            // A filter makes a condition.
            if source.name == "RecordFilter.swift" { continue }
            for line in source.code { #expect(!words.contains { line.contains($0) }, "\(source.path): \(line)") }
        }
    }

    @Test func `routes hold no SQL, time or chance`() {
        for source in sources where source.name.hasSuffix("Routes.swift") {
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
            "Auth/Background/Sweeper.swift Task.sleep", "Auth/Background/Steps.swift Task.sleep",
            "Auth/Background/Jobs.swift Task.sleep",
            "Auth/Background/Lease.swift Task.sleep",
            "Auth/Background/RateSharing.swift Task.sleep", "Auth/Audit/AuditChain.swift Task.sleep",
            "Auth/Background/MemoryReturn.swift Task.sleep",
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

    /// Text from outside is made in one place, which bounds it before anything looks at it.
    ///
    /// The others make text of bytes of their own, of the database's or of a C library's.
    @Test func `bytes become text in the gate alone`() {
        let calls = ["String(decoding:", "String(validating:", "String(bytes:", "String(cString:", "String(data:"]
        let own: Set<String> = [
            "Auth/Core/TextGate.swift",  // the gate
            "Auth/Core/JSONParser.swift",  // the gate of documents, with a budget
            "Auth/Core/JSON.swift", "Auth/Flows/MFA/TOTP.swift", "Auth/Flows/MFA/RecoveryCode.swift",  // written here
            "Auth/Flows/Sessions/SigningKey.swift", "Auth/HTTP/RequestLog.swift",  // written here
            "Auth/Core/SealingKey.swift",  // sealed here
            "Auth/Flows/Password/PasswordHash.swift",  // libsodium's hashes
            "Auth/Audit/AuditDetails.swift",  // cut here
            "Auth/App.swift", "Auth/Outbound/OutboundTransfers.swift", "Auth/Audit/AuditSegmentFile.swift",  // errors
            "Auth/Background/ServingLock.swift",  // names of errors, and the number that another process wrote
            "Auth/Email/SMTPConnection.swift",  // names of errors
        ]
        for source in sources where !source.path.hasPrefix("Storage/") && !own.contains(source.path) {
            for line in source.code { #expect(!calls.contains { line.contains($0) }, "\(source.path): \(line)") }
        }
    }

    /// What compares, folds or matches text by characters takes texts whose bytes were counted before.
    ///
    /// A file is on the list when each of its calls is behind such a bound; the comment says which.
    @Test func `text is normalised, folded and matched only where its length is bounded`() {
        let calls = [
            "WithCanonicalMapping", "WithCompatibilityMapping", ".lowercased()", ".uppercased()", "Regex(",
            "NSRegularExpression", "wholeMatch(", "prefixMatch(", "firstMatch(", "localizedCompare",
        ]
        let bounded: Set<String> = [
            "Auth/Core/Text.swift", "Auth/Core/EmailAddress.swift",  // EmailAddress.rawBytesMax
            "Auth/Core/FieldValidation.swift",  // Field.textBytesMax
            "Auth/Core/SuppliedSecret.swift", "Auth/Flows/Password/PasswordPolicy.swift",  // counted first
            "Auth/Core/Timestamp.swift",  // Timestamp.textBytesMax
            "Auth/Flows/Accounts/RecordFilter.swift",  // RecordFilter.bytesMax
            "Auth/Flows/MFA/RecoveryCode.swift", "Auth/Flows/OAuth/OAuth.swift",  // Fields.textBytesMax
            "Auth/Flows/OAuth/OAuthClient.swift", "Auth/Flows/OAuth/OAuthRoutes.swift",  // Fields.textBytesMax
            "Auth/Flows/OAuth/RedirectURI.swift",  // a setting, or Fields
            "Auth/Flows/OAuth/IDToken.swift", "Auth/Flows/OAuth/OAuthExchange.swift",  // OutboundClient.bodyBytesMax
            "Auth/Flows/Sessions/Authenticator.swift", "Auth/HTTP/Body.swift",  // TextKind.headerValue
            "Auth/Settings/Settings.swift", "Auth/Settings/SettingsCatalogue.swift",  // SettingDefinition.bytesMax
            "Auth/HTTP/RateRules.swift", "Auth/Outbound/OutboundClient.swift",  // settings
            "Auth/Email/MailText.swift", "Auth/Email/HTMLText.swift", "Auth/Email/MailTransport.swift",  // settings
            "Auth/Settings/Configuration.swift",  // TextKind.option
            "Auth/HTTP/OpenAPI.swift", "Auth/Flows/MFA/TOTP.swift",  // the server's own words
        ]
        for source in sources where !source.path.hasPrefix("Storage/") && !bounded.contains(source.path) {
            for line in source.code { #expect(!calls.contains { line.contains($0) }, "\(source.path): \(line)") }
        }
        // The list holds no file that needs no place on it.
        for path in bounded {
            let source = sources.first { $0.path == path }
            #expect(source?.code.contains { line in calls.contains { line.contains($0) } } == true, "\(path)")
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
