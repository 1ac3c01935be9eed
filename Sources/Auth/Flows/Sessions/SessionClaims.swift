import OrderedCollections

/// The claims of our tokens (contract §2, RFC 7519).
///
/// `resource` is a file token's alone.
struct SessionClaims: Sendable, Equatable {
    enum Audience: String, Sendable {
        case user
        case admin
        case file
    }

    /// Names this product; the keys name the installation.
    static let issuer = "latchkey"

    let audience: Audience
    let issuedAt: Timestamp
    let expiresAt: Timestamp
    let tokenID: String
    let session: SessionID
    let user: UserID
    let email: String?
    let collection: String
    let methods: [String]
    var resource: String?
    var isAnonymous = false
    /// The admin behind an impersonation.
    var impersonatedBy: UserID?

    var json: JSON {
        var json: JSON = [
            "iss": .string(Self.issuer), "aud": .string(audience.rawValue), "iat": .integer(issuedAt.seconds),
            "exp": .integer(expiresAt.seconds), "jti": .string(tokenID), "sid": .string(session.rawValue),
            "id": .string(user.rawValue), "email": .optional(email), "collection": .string(collection),
            "amr": .array(methods.map(JSON.string)),
        ]
        if let resource { json = json.merging(["resource": .string(resource)]) }
        if isAnonymous { json = json.merging(["anonymous": true]) }
        if let impersonatedBy { json = json.merging(["impersonated_by": .string(impersonatedBy.rawValue)]) }
        return json
    }

    /// Nil when a claim is missing or of another type, or the issuer is not ours.
    init?(json: JSON) {
        guard json["iss"] == .string(Self.issuer), let audience = json["aud"]?.text.flatMap(Audience.init),
            case .integer(let issuedAt)? = json["iat"], case .integer(let expiresAt)? = json["exp"],
            let tokenID = json["jti"]?.text, let session = json["sid"]?.text.flatMap(SessionID.init),
            let user = json["id"]?.text.flatMap(UserID.init), let collection = json["collection"]?.text,
            case .array(let methods)? = json["amr"],
            (0..<1 << 40).contains(issuedAt), (0..<1 << 40).contains(expiresAt)
        else { return nil }
        self.audience = audience
        self.issuedAt = Timestamp(seconds: issuedAt)
        self.expiresAt = Timestamp(seconds: expiresAt)
        self.tokenID = tokenID
        self.session = session
        self.user = user
        self.email = json["email"]?.text
        self.collection = collection
        self.methods = methods.compactMap(\.text)
        resource = json["resource"]?.text
        isAnonymous = json["anonymous"] == true
        impersonatedBy = json["impersonated_by"]?.text.flatMap(UserID.init)
    }

    init(
        audience: Audience,
        issuedAt: Timestamp,
        expiresAt: Timestamp,
        tokenID: String,
        session: SessionID,
        user: UserID,
        email: String?,
        collection: String,
        methods: [String],
        resource: String? = nil,
        isAnonymous: Bool = false,
        impersonatedBy: UserID? = nil
    ) {
        self.audience = audience
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.tokenID = tokenID
        self.session = session
        self.user = user
        self.email = email
        self.collection = collection
        self.methods = methods
        self.resource = resource
        self.isAnonymous = isAnonymous
        self.impersonatedBy = impersonatedBy
    }
}

extension SessionClaims {
    /// About how many bytes they take in a cache.
    var memoryBytes: Int {
        MemoryLayout<SessionClaims>.stride + 3 * 80 + (email?.memoryBytes ?? 0) + collection.memoryBytes
            + (resource?.memoryBytes ?? 0) + methods.count * 32
    }
}
