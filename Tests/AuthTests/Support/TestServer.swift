import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import OrderedCollections
import Storage
import StorageTesting
import Synchronization
import Testing

@testable import Auth

/// The real application on a fresh database, with a clock and a randomness of the test's own, spoken to by HTTP
/// requests.
///
/// Rate limits are off unless a test turns them on: hundreds of requests come from one address within one frozen
/// second.
final class TestServer: Sendable {
    let app: App
    let services: Services
    let clock: ManualClock
    let faults: FaultyDatabase
    private let directory: TemporaryDirectory
    private let watching: Task<Void, Never>?
    private let adminToken = Mutex<String?>(nil)

    static let adminEmail = "root@example.org"
    static let password = "correct horse battery"

    /// One for all servers: its threads live as long as the process.
    private static let threads = HashingThreads(count: 2, waitingMax: 100_000)

    convenience init(
        _ engine: Engine,
        algorithm: SigningAlgorithm = .es256,
        settings: [String: String?] = [:],
        host: String = "127.0.0.1",
        probes: [Route] = [],
        outbound: OutboundClient = .live
    ) async throws {
        let db = try await engine.open(Schema.migrations)
        // PostgreSQL's caches are bypassed until others are heard; on SQLite nobody else is there.
        let node = Node(sealingKey: Random.system.bytes(32), isShared: engine != .sqlite, isWatching: engine != .sqlite)
        try await self.init(
            db,
            node,
            algorithm: algorithm,
            settings: settings,
            host: host,
            probes: probes,
            outbound: outbound
        )
    }

    /// So many nodes of one new database, each with a data directory of its own, on one clock.
    static func nodes(_ engine: Engine, _ count: Int = 2, settings: [String: String?] = [:]) async throws
        -> [TestServer]
    {
        let node = Node(sealingKey: Random.system.bytes(32), isShared: engine != .sqlite, isWatching: true)
        var servers: [TestServer] = []
        for db in try await engine.openNodes(count, Schema.migrations) {
            servers.append(try await TestServer(db, node, settings: servers.isEmpty ? settings : nil))
        }
        return servers
    }

    /// What the nodes of a database have in common.
    struct Node: Sendable {
        let clock = ManualClock()
        let sealingKey: [UInt8]
        let isShared: Bool
        let isWatching: Bool
    }

    /// Mails are in the development inbox as long as `host` is a loopback address and SMTP is off.
    ///
    /// `settings` nil leaves them as another node has set them.
    init(
        _ db: any Database,
        _ node: Node,
        algorithm: SigningAlgorithm = .es256,
        settings: [String: String?]?,
        host: String = "127.0.0.1",
        probes: [Route] = [],
        outbound: OutboundClient = .live,
        secret: String? = nil,
        mark: String? = nil
    ) async throws {
        directory = try TemporaryDirectory()
        clock = node.clock
        let clock = clock
        let faults = FaultyDatabase(db)
        self.faults = faults
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        for (text, name) in [(secret, ".secret"), (mark, ".secret.fingerprint")] {
            try text?.write(toFile: directory.file(name), atomically: true, encoding: .utf8)
        }
        services = Services(
            db: faults,
            clock: WallClock { clock.now },
            random: .system,
            hasher: PasswordHasher(threads: Self.threads),
            outbound: outbound,
            sealingKey: SealingKey(bytes: node.sealingKey)!,
            signingSecrets: SigningSecrets(
                file: SigningSecretFile(directory: directory.path),
                fixed: nil,
                algorithm: algorithm,
                isShared: node.isShared
            ),
            ownAddress: OwnAddress(host: host, port: 8090),
            memory: MemoryPlan(cores: 2, machineBytes: 1 << 34),
            logger: logger
        )
        var options = ["data_dir": directory.path, "log_level": "critical"]
        if node.isShared { options["database_url"] = "postgres://opened/already" }
        let configuration = try await Configuration.load(overrides: options, environment: [:])
        watching = node.isWatching ? Task { try? await faults.watch() } : nil
        if node.isWatching { try #require(try await eventually(within: 60, every: 2) { faults.hearsOthers }) }
        let installation = try await Installation.prepared(configuration, services: services)
        app = App(installation, lines: LineWriter(to: .nullDevice, bytesMax: 1 << 20), extraRoutes: probes)
        guard let settings else { return }
        let standard: [String: String?] = ["rate_limit.enabled": "0"]
        _ = try await app.settingsChanges.set(standard.merging(settings) { _, own in own }, by: .commandLine)
    }

    deinit { watching?.cancel() }

    /// Stops noticing what other nodes do.
    func stopWatching() async {
        watching?.cancel()
        await watching?.value
    }

    /// Sends a request through everything but the socket.
    func send(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ body: JSON? = nil,
        token: String? = nil,
        headers: [HTTPField.Name: String] = [:],
        raw: [UInt8]? = nil,
        from address: String = "192.0.2.1"
    ) async throws -> Reply {
        var fields = HTTPFields()
        if let token { fields[.authorization] = "Bearer \(token)" }
        if body != nil || raw != nil { fields[.contentType] = "application/json" }
        for (name, value) in headers { fields[name] = value }
        let bytes = raw ?? body.map { Array($0.serialized.utf8) } ?? []
        let request = Request(
            head: HTTPRequest(method: method, scheme: "http", authority: "localhost", path: path, headerFields: fields),
            body: RequestBody(buffer: ByteBuffer(bytes: bytes))
        )
        let context = AppContext(source: TestSource(), socketAddress: address)
        let response = try await app.responder.respond(to: request, context: context)
        return Reply(response, bytes: try await response.body.collected())
    }

    func get(_ path: String, token: String? = nil) async throws -> Reply {
        try await send(.get, path, token: token)
    }

    func post(_ path: String, _ body: JSON? = nil, token: String? = nil) async throws -> Reply {
        try await send(.post, path, body, token: token)
    }

    /// Registers a user of `users`, and returns the record.
    @discardableResult
    func signUp(_ email: String, _ fields: JSON = [:]) async throws -> JSON {
        guard case .object(let members) = fields else { return .null }
        let body: JSON = ["email": .string(email), "password": .string(Self.password)]
        return try await post("/api/auth/users/register", body.merging(members)).data()
    }

    /// Logs in to `users`, and returns the token.
    func signIn(_ email: String, password: String = TestServer.password) async throws -> String {
        let reply = try await post("/api/auth/users/login", ["email": .string(email), "password": .string(password)])
        return try reply.data()["token"]?.text ?? ""
    }

    /// A new user's token.
    func signedUp(_ email: String) async throws -> String {
        try await signUp(email)
        return try await signIn(email)
    }

    /// The token of the first admin, who is made on the first call.
    func admin() async throws -> String {
        if let token = adminToken.withLock({ $0 }) { return token }
        try await Commands(app.installation).createAdmin(email: Self.adminEmail, password: Self.password)
        let reply = try await post(
            "/api/admin/auth/login",
            ["email": .string(Self.adminEmail), "password": .string(Self.password)]
        )
        let token = try reply.data()["token"]?.text ?? ""
        adminToken.withLock { $0 = token }
        return token
    }

    /// The upkeep, which no test server does by itself.
    var sweeper: Sweeper {
        Sweeper(
            services: services,
            lease: Lease(Lease.background, services),
            guests: app.guests,
            retention: app.retention
        )
    }

    func set(_ settings: [String: String?]) async throws {
        _ = try await app.settingsChanges.set(settings, by: .commandLine)
    }

    /// The newest mail of the development inbox to somebody.
    func mail(to recipient: String, _ template: MailTemplate) async throws -> JSON {
        let wanted = MailDesk.Wanted(recipient: EmailAddress(parsing: recipient), template: template)
        let desk = MailDesk(services: services, readiness: Readiness())
        guard let mail = try await desk.inbox(wanted, page: Paging(query: ["perPage": "1"])).elements.first else {
            throw Reply.Unexpected(description: "no mail \(template) to \(recipient)")
        }
        return mail
    }

    /// The token of that mail.
    func token(to recipient: String, _ template: MailTemplate) async throws -> String {
        try await mail(to: recipient, template)["token"]?.text ?? ""
    }

    /// Who got what, the newest last; mails to nobody as `void`.
    func mails() async throws -> [String] {
        try await services.db.read { tx in
            try tx.all("SELECT * FROM outbox ORDER BY created_at, template, recipient").map { row in
                let mail = try OutboxMail(row)
                return mail.state == .void
                    ? "void \(mail.template.rawValue)" : "\(mail.template.rawValue) \(mail.recipient)"
            }
        }
    }

    /// The actions of the audit log in their order.
    func audit() async throws -> [String] {
        try await services.db.read { tx in
            try tx.all("SELECT action FROM audit_log ORDER BY sequence").map { try $0.get("action") }
        }
    }

    func count(_ query: SQL) async throws -> Int {
        try await services.db.read { tx in try tx.one(query)?.get("count") ?? -1 }
    }

    func users() async throws -> Int { try await count("SELECT count(*) AS count FROM users") }
}

/// What came back.
struct Reply: Sendable {
    let status: Int
    let headers: HTTPFields
    let bytes: [UInt8]

    init(_ response: Response, bytes: [UInt8]) {
        status = response.status.code
        headers = response.headers
        self.bytes = bytes
    }

    var json: JSON { JSON(parsing: bytes) ?? .null }
    var text: String { String(decoding: bytes, as: UTF8.self) }
    var code: String? { json["code"]?.text }
    var error: String? { json["error"]?.text }
    var details: JSON? { json["details"] }

    /// The `data` of a success; a refusal fails the test with its text.
    func data() throws -> JSON {
        guard status == 200, let data = json["data"] else { throw Unexpected(description: "\(status) \(text)") }
        return data
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }
}

/// Time that stands still until it is moved.
final class ManualClock: Sendable {
    private let time = Mutex(Timestamp(milliseconds: 1_795_000_000_000))

    var now: Timestamp { time.withLock { $0 } }

    func advance(seconds: Int) {
        time.withLock { $0 = $0.advanced(bySeconds: seconds) }
    }
}

private struct TestSource: RequestContextSource {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}

extension JSON {
    /// With another member.
    func with(_ key: String, _ value: JSON) -> JSON {
        guard case .object(let members) = self else { return self }
        return .object(members.merging([MemberName(key): value]) { _, new in new })
    }
}

extension ResponseBody {
    fileprivate consuming func collected() async throws -> [UInt8] {
        let collector = Collector()
        try await write(CollectingWriter(collector: collector))
        return collector.bytes.withLock { $0 }
    }
}

private final class Collector: Sendable {
    let bytes = Mutex<[UInt8]>([])
}

private struct CollectingWriter: ResponseBodyWriter {
    let collector: Collector

    mutating func write(_ buffer: ByteBuffer) async throws {
        collector.bytes.withLock { $0 += Array(buffer.readableBytesView) }
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
