import Foundation
import Testing

@testable import Auth

/// `docs/limits.md` against the constants of the source code.
@Suite struct LimitsTests {
    /// Bounds of loops, batches and formats, which no client meets.
    private static let internals: Set<String> = [
        "AuditChain.batchMax", "AuditRetention.removedBatchMax", "AuditVerification.batchMax",
        "AuditSegmentFile.bytesMax",
        "CollectionJobs.builtBatchMax", "CollectionJobs.deletedBatchMax", "CollectionJobs.droppedBatchMax",
        "Configuration.signingSecretBytesMin", "Connections.sampleMax", "Connections.searchMax", "Field.textBytesMax",
        "Guests.batchMax", "IDToken.keptSecondsMax", "LastSeen.batchMax", "MailHeader.wordBytesMax",
        "MemoryPlan.bytesMin",
        "OAuthSignIn.attemptsMax", "RateLimiter.toldMax", "SuppliedSecret.distinctMin",
    ]

    private let page: [Substring]
    /// Of every constant of the product that has a literal value, by type and name; and of every one there is.
    private let constants: [String: Double?]

    init() throws {
        page = try String(contentsOfFile: Repository.path("docs/limits.md"), encoding: .utf8).split(separator: "\n")
        constants = try Self.read.get()
        try #require(constants.count > 100)
    }

    private static let read = Result {
        var constants: [String: Double?] = [:]
        let root = Repository.path("Sources/Auth")
        let paths = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
        for path in paths where path.hasSuffix(".swift") {
            var type = ""
            for line in try String(contentsOfFile: root + "/" + path, encoding: .utf8).utf8.split(separator: 10) {
                // Regular expressions are slow in a debug build: few lines are worth one.
                let line = String(line) ?? ""
                if !line.utf8.starts(with: "    ".utf8), let name = typeName(line) { type = name }
                let isConstant = line.utf8.starts(with: "    ".utf8) && !line.utf8.starts(with: "     ".utf8)
                guard isConstant, let (name, value) = constant(line) else { continue }
                let isLimit = name.hasSuffix("Max") || name.hasSuffix("Min")
                if value != nil || isLimit && line.contains("static") { constants["\(type).\(name)"] = value }
            }
        }
        return constants
    }

    private static func typeName(_ line: String) -> String? {
        let pattern =
            /(?:private |package |fileprivate )?(?:final )?(?:indirect )?(?:struct|enum|class|actor|extension) (\w+)/
        return line.prefixMatch(of: pattern).map { String($0.1) }
    }

    private static func constant(_ line: String) -> (name: String, value: Double?)? {
        let pattern = /\s+(?:private |package |fileprivate )?(?:static )?(?:let|var) (\w+)[^={]*[={]\s*([^}]*)/
        return line.prefixMatch(of: pattern).map { match in
            (String(match.1), value(of: match.2.trimmingCharacters(in: .whitespaces)))
        }
    }

    @Test func `every limit of the source code is on the page, or is internal`() {
        let text = page.joined(separator: "\n")
        for name in constants.keys where name.hasSuffix("Max") || name.hasSuffix("Min") {
            let isListed = text.contains("`\(name)`")
            #expect(isListed != Self.internals.contains(name), "\(name)")
        }
    }

    @Test func `every number on the page is the one of the source code`() throws {
        var compared = 0
        for row in rows {
            let numbers = row[1].replacing(",", with: "").matches(of: /\d+(?:\.\d+)?/).compactMap { Double($0.output) }
            for match in row[2].matches(of: /`([A-Z]\w*\.\w+)`/) {
                guard let constant = constants[String(match.1)], let value = constant else { continue }
                #expect(numbers.contains(value), "\(match.1) is \(value): \(row[1])")
                compared += 1
            }
        }
        try #require(compared > 90)
    }

    @Test func `every setting on the page has the default of the catalogue`() {
        for row in rows {
            for match in row[2].matches(of: /`([a-z_]+(?:\.[a-z_]+)+)`/) {
                let key = String(match.1)
                guard key != "rate_limit.rules", key != "audit.kept_days" else { continue }
                #expect(
                    SettingsCatalogue.definition(of: key)?.defaultValue == row[1].trimmingCharacters(in: .whitespaces),
                    "\(key)"
                )
            }
        }
        #expect(SettingsCatalogue.definition(of: "audit.kept_days")?.defaultValue == "0")
        let rules = RateRules.standard
        #expect(rules.auth == .init(count: 10, seconds: 3) && rules.general == .init(count: 300, seconds: 10))
        #expect(rules.probe == .init(count: 1000, seconds: 10))
    }

    @Test func `the limits of texts and documents in the prose are those of the source code`() {
        #expect(TextKind.memberName.bytesMax == 128 && TextKind.formValue.bytesMax == 8192)
        #expect(TextKind.target.bytesMax == 8192 && TextKind.headerValue.bytesMax == 8192)
        let budget = JSONBudget.outside
        #expect((budget.depthMax, budget.nodesMax, budget.membersMax) == (32, 10_000, 1000))
        #expect((budget.nameBytesMax, budget.numberBytesMax) == (128, 128))
    }

    private var rows: [[Substring]] {
        page.filter { $0.hasPrefix("| ") && !$0.hasPrefix("| what ") }.map { line in
            line.split(separator: "|").map { $0 }
        }
    }

    /// Of a number, a product or a shift; nil for anything else.
    private static func value(of text: String) -> Double? {
        let words = text.replacing("_", with: "").split(separator: " ")
        guard let first = words.first.flatMap({ Double($0) }) else { return nil }
        switch (words.count, words.dropFirst().first, words.last.flatMap { Double($0) }) {
        case (1, _, _): return first
        case (3, "*", let second?): return first * second
        case (3, "<<", let second?): return first * pow(2, second)
        default: return nil
        }
    }
}
