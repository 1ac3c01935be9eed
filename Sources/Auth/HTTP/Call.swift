import HTTPTypes
import NIOCore
import OrderedCollections

/// A request as a handler gets it: matched, authenticated, its body read.
struct Call: Sendable {
    let services: Services
    let route: Route
    /// When it was admitted, with its body.
    private(set) var time: Timestamp
    let parameters: [String: String]
    let query: [String: String]
    let client: Client
    /// What `:col` names.
    fileprivate(set) var namedCollection: Collection?
    private var signedIn: Principal?
    /// The header `X-MFA-Code`.
    let mfaCode: String?
    private(set) var body: JSON.Members = [:]

    init(
        services: Services,
        route: Route,
        time: Timestamp,
        parameters: [String: String],
        query: [String: String],
        client: Client,
        collection: Collection?,
        principal: Principal?,
        mfaCode: String?
    ) {
        self.services = services
        self.route = route
        self.time = time
        self.parameters = parameters
        self.query = query
        self.client = client
        namedCollection = collection
        signedIn = principal
        self.mfaCode = mfaCode
    }

    /// Notes that all of the body has come, and who is signed in by then.
    mutating func bodyCame(at time: Timestamp, from principal: Principal?) {
        self.time = time
        signedIn = principal
    }

    /// The same call with the members of its body.
    func with(_ body: JSON.Members) -> Call {
        var call = self
        call.body = body
        return call
    }

    /// Who calls.
    ///
    /// Throws `unauthenticated` on an open route without a credential.
    func principal() throws -> Principal {
        guard let signedIn else { throw AuthError(.unauthenticated) }
        return signedIn
    }

    /// Who calls, on a route that doesn't ask for it.
    var caller: Principal? { signedIn }

    func collection() throws -> Collection {
        guard let namedCollection else { throw AuthError(.notFound) }
        return namedCollection
    }

    func parameter(_ name: String) -> String { parameters[name] ?? "" }

    /// `:id` as a user's.
    ///
    /// Throws `not_found` for what can't be one.
    func userID() throws -> UserID {
        guard let id = UserID(rawValue: parameter("id")) else { throw AuthError(.notFound) }
        return id
    }

    var actor: Actor { signedIn?.actor(from: client) ?? Actor(id: nil, client: client) }

    var fields: Fields { Fields(members: body, at: time) }

    /// The parts of the query, read like members of a body.
    var queryFields: Fields {
        Fields(
            members: OrderedDictionary(uniqueKeysWithValues: query.map { (MemberName($0.key), JSON.string($0.value)) }),
            at: time
        )
    }
}

/// What a handler answers with.
struct Answer: Sendable {
    enum Content: Sendable {
        case data(JSON)
        /// JSON of a standard's own, outside the envelope.
        case document(JSON)
        /// JSON that never changes; answers that wait for slow readers share its bytes.
        case constant(ByteBuffer)
        /// HTML.
        case page(String)
        /// The browser goes on there, by GET.
        case redirect(String)
    }

    var status = 200
    var content: Content
    /// Members beside `data`.
    var extra: JSON.Members = [:]
    /// Nil: not to be stored.
    var cacheSeconds: Int?

    static func data(_ json: JSON) -> Answer { Answer(content: .data(json)) }

    static func page(_ html: String) -> Answer { Answer(content: .page(html)) }

    /// Status 303, whatever the method was (RFC 9110 §15.4.4).
    static func redirect(_ url: String) -> Answer { Answer(status: 303, content: .redirect(url)) }

    static func refusalPage(_ error: AuthError) -> Answer {
        Answer(status: error.code.status, content: .page(Page.refusal(error)))
    }

    static func document(_ json: JSON, cacheSeconds: Int? = nil) -> Answer {
        Answer(content: .document(json), cacheSeconds: cacheSeconds)
    }

    /// The body as it is sent.
    var buffer: ByteBuffer {
        if case .constant(let buffer) = content { return buffer }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1024)
        switch content {
        case .document(let json): json.write(to: &bytes)
        case .page(let html): bytes.append(contentsOf: html.utf8)
        case .redirect, .constant: break
        case .data(let json):
            bytes.append(contentsOf: #"{"data":"#.utf8)
            json.write(to: &bytes)
            for (key, value) in extra {
                bytes.append(contentsOf: ",\"\(key)\":".utf8)
                value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
        return ByteBuffer(bytes: bytes)
    }
}

/// Reads the members of a body, and gathers what is wrong with them until ``check()``.
struct Fields: Sendable {
    static let textBytesMax = 1024

    private let members: JSON.Members
    let time: Timestamp
    private(set) var problems: [String: String] = [:]

    init(members: JSON.Members, at time: Timestamp) {
        self.members = members
        self.time = time
    }

    /// A text that must be there; empty when it isn't, and then ``check()`` throws.
    mutating func text(_ key: String, bytesMax: Int = textBytesMax) -> String {
        let text = optionalText(key, bytesMax: bytesMax) ?? ""
        if text.isEmpty && problems[key] == nil { refuse(key, "is required") }
        return text
    }

    mutating func optionalText(_ key: String, bytesMax: Int = textBytesMax) -> String? {
        switch members[key] {
        case nil, .null?: return nil
        case .string(let text)? where text.utf8.contains(0): refuse(key, "must not contain NUL characters")
        case .string(let text)? where text.utf8.count > bytesMax: refuse(key, "must be at most \(bytesMax) bytes")
        case .string(let text)?: return text
        default: refuse(key, "must be a text")
        }
        return nil
    }

    /// A password, for the policy to judge or to be compared.
    ///
    /// One that is longer than any can be is cut, and stays longer: it is wrong at the cost of every other wrong one.
    mutating func secret(_ key: String) -> Secret<String> {
        let text = text(key, bytesMax: .max)
        guard text.utf8.count > PasswordPolicy.bytesMax else { return Secret(text) }
        return Secret(TextGate.shown(text.utf8, bytesMax: PasswordPolicy.bytesMax + 1))
    }

    func has(_ key: String) -> Bool { members[key] != nil }

    mutating func optionalFlag(_ key: String) -> Bool? {
        switch members[key] {
        case nil, .null?: return nil
        case .bool(let flag)?: return flag
        default:
            refuse(key, "must be true or false")
            return nil
        }
    }

    /// `1` or `true` is on, as in settings; for a query.
    mutating func queryFlag(_ key: String) -> Bool {
        guard let text = optionalText(key), !text.isEmpty else { return false }
        guard ["0", "1", "true", "false"].contains(text) else {
            refuse(key, "must be 0 or 1")
            return false
        }
        return Settings.isOn(text)
    }

    /// An object that may be missing; then it is empty.
    mutating func object(_ key: String) -> JSON.Members {
        switch members[key] {
        case nil, .null?: return [:]
        case .object(let members)?: return members
        default:
            refuse(key, "must be an object")
            return [:]
        }
    }

    /// A time to come: RFC 3339, or seconds since 1970.
    mutating func futureTime(_ key: String) -> Timestamp? {
        var future: Timestamp?
        switch members[key] {
        case nil, .null?: return nil
        case .string(let text)? where text.utf8.count <= 64: future = Timestamp(parsing: text)
        // Up to the year 9999, the last that RFC 3339 can write.
        case .integer(let seconds)? where (0..<253_402_300_800).contains(seconds): future = Timestamp(seconds: seconds)
        default: break
        }
        if future == nil { refuse(key, "must be a time such as 2027-01-31T12:00:00Z") }
        // A whole second: that much at least is left of a token that ends then.
        if let future, future < time.advanced(bySeconds: 1) { refuse(key, "must be in the future") }
        return future
    }

    /// Some of a closed list, each once, in the order of the list.
    mutating func choices<T: RawRepresentable & CaseIterable>(_ key: String, of type: T.Type) -> [T]?
    where T.RawValue == String {
        guard has(key), members[key] != .null else { return nil }
        let texts: [String?] = if case .array(let values)? = members[key] { values.map(\.text) } else { [nil] }
        let choices = T.allCases.filter { texts.contains($0.rawValue) }
        guard texts.allSatisfy({ text in choices.contains { $0.rawValue == text } }) else {
            refuse(key, "must be a list of: \(T.allCases.map(\.rawValue).joined(separator: ", "))")
            return nil
        }
        return Array(choices)
    }

    mutating func choice<T: RawRepresentable & CaseIterable>(_ key: String, of type: T.Type) -> T?
    where T.RawValue == String {
        guard let text = optionalText(key) else { return nil }
        guard let choice = T(rawValue: text) else {
            refuse(key, "must be one of: \(T.allCases.map(\.rawValue).joined(separator: ", "))")
            return nil
        }
        return choice
    }

    mutating func refuse(_ key: String, _ message: String) {
        problems[key] = message
    }

    /// Throws `validation_failed` with every problem found.
    func check() throws {
        guard problems.isEmpty else { throw AuthError.validation(problems) }
    }
}
