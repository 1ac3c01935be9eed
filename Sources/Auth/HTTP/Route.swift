import HTTPTypes

/// One operation of the API: what it takes, who may call it, what it does.
///
/// There is no route without a guard.
///
/// Everything before the handler is the same for all, in the order of contract §1: route and collection (404),
/// credential (401, 403), feature flag and mail (422), body (415, 413, 400, 422).
struct Route: Sendable {
    typealias Handler = @Sendable (Call) async throws -> Answer

    let method: HTTPRequest.Method
    /// Segments that begin with `:` are parameters; `:col` names a collection and is resolved before the handler.
    let path: String
    let admits: Guard
    let summary: String
    let limit: RateRules.Label
    let feature: Feature?
    /// Refused with 422 while no mail can go out.
    let needsMail: Bool
    /// People see it: refusals are pages too.
    let isPage: Bool
    /// Its path may hold an email: the request log has its pattern instead.
    let isPathPrivate: Bool
    /// Open to who must have a second factor and has none yet.
    let isForEnrolment: Bool
    /// Open to an admin who acts as somebody else.
    ///
    /// What only reads (GET) is; the rest is not unless it says so.
    let isForImpersonation: Bool
    /// Only for a session that a person has begun (``Principal/checkPerson()``): what could take over others' accounts.
    let isForPersons: Bool
    /// Hashes a password: refused before its body is read while too many hashes wait.
    let isHashing: Bool
    let takes: Shape?
    /// Nothing need be sent, not even an empty object.
    let isBodyOptional: Bool
    /// Also takes a form, or JSON that is labelled as one: `curl -d` does that by default, and seed 002 shows such a
    /// call.
    let isFormTypeAccepted: Bool
    let query: [Member]
    let gives: Shape
    let handler: Handler

    init(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ admits: Guard,
        _ summary: String,
        limit: RateRules.Label = .general,
        feature: Feature? = nil,
        needsMail: Bool = false,
        isPage: Bool = false,
        isPathPrivate: Bool = false,
        isForEnrolment: Bool = false,
        isForImpersonation: Bool = false,
        isForPersons: Bool = false,
        isHashing: Bool = false,
        takes: Shape? = nil,
        isBodyOptional: Bool = false,
        isFormTypeAccepted: Bool = false,
        query: [Member] = [],
        gives: Shape,
        use handler: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.admits = admits
        self.summary = summary
        self.limit = limit
        self.feature = feature
        self.needsMail = needsMail
        self.isPage = isPage
        self.isPathPrivate = isPathPrivate
        self.isForEnrolment = isForEnrolment
        self.isForImpersonation = isForImpersonation || method == .get
        self.isForPersons = isForPersons
        self.isHashing = isHashing
        self.takes = takes
        self.isBodyOptional = isBodyOptional
        self.isFormTypeAccepted = isFormTypeAccepted
        self.query = query
        self.gives = gives
        self.handler = handler
    }

    /// Gives a list: reads what may be much.
    var isList: Bool {
        guard case .list = gives else { return false }
        return method == .get
    }

    /// Whom a route admits.
    enum Guard: String, Sendable {
        /// Anybody; a credential is not looked at.
        case open
        /// Anybody; who has a valid credential is known by it, and what it is good for is the handler's to say.
        case openToAll = "open, or signed in"
        /// Whoever has a valid credential.
        case signedIn = "signed in"
        /// A user of the collection `:col`.
        case member = "member of :col"
        /// The user `:id` of the collection `:col`, or an admin.
        case ownerOrAdmin = "owner or admin"
        /// The user `:id`, which may be `me`, or an admin.
        case selfOrAdmin = "self or admin"
        case admin
    }

    /// Whether strangers may call it.
    var isOpen: Bool { admits == .open || admits == .openToAll }

    /// Stands for the caller's own id.
    static let me = "me"

    /// Throws `unauthenticated`, `forbidden`, `session_required`, `reauthentication_required` or `mfa_enrolment_required`.
    func admit(
        _ principal: Principal?,
        collection: Collection?,
        parameters: [String: String],
        _ settings: Settings
    ) throws {
        if isOpen { return }
        guard let principal else { throw AuthError(.unauthenticated) }
        let isAdmitted =
            switch admits {
            case .open, .openToAll, .signedIn: true
            case .admin: principal.isAdmin
            case .member: principal.collection.id == collection?.id
            case .selfOrAdmin:
                principal.isAdmin || parameters["id"] == Self.me || principal.user.id.rawValue == parameters["id"]
            case .ownerOrAdmin:
                principal.isAdmin
                    || principal.collection.id == collection?.id && principal.user.id.rawValue == parameters["id"]
            }
        guard isAdmitted else { throw AuthError(.forbidden) }
        guard principal.impersonator == nil || isForImpersonation else {
            throw AuthError(.forbidden, "An admin who acts as somebody else can't do this.")
        }
        if isForPersons { try principal.checkPerson() }
        if !isForEnrolment && principal.mustEnrol(settings) { throw AuthError(.mfaEnrolmentRequired) }
    }
}
