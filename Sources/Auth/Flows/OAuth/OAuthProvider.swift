/// A provider of identities: where it is, what it wants, and how its answers tell who somebody is.
///
/// One small value each (``OAuthProvider/builtIn``); the engine (``OAuthExchange``) is the same for all.
struct OAuthProvider: Sendable {
    /// As settings and routes name it.
    var name: String
    var displayName: String
    var authorizationURL = ""
    var tokenURL = ""
    var userinfoURL = ""
    var jwksURL = ""
    /// Who may have issued its ID tokens; `{tenantid}` stands for the token's own claim `tid`.
    ///
    /// With ``isDiscovered``, the one whose document tells the URLs that are not set.
    var issuers: [String] = []
    var scopes: [String]
    var clientAuthentication = ClientAuthentication.post
    var idToken = IDTokenUse.ignored
    /// Whether PKCE is used although nobody asks for it (RFC 7636).
    var needsPKCE = false
    /// Further parameters of the authorization request.
    var parameters: [(String, String)] = []
    /// Of the userinfo request; `{client_id}` stands for the client's id.
    var userinfoHeaders: [String] = []
    /// What names the fields of the userinfo answer, where the API wants that.
    var userinfoQuery = ""
    /// The user's addresses are at `/emails` below the userinfo URL.
    var hasEmailList = false
    var isDiscovered = false
    /// Who the answers are about; nil when they don't say.
    let profile: @Sendable (Answers) -> OAuthProfile?

    /// Whether it may be the issuer of that name, as far as its issuers are known.
    func mayBe(_ issuer: String) -> Bool {
        issuers.isEmpty
            || issuers.contains { pattern in
                guard let tenant = pattern.firstRange(of: "{tenantid}") else { return pattern == issuer }
                return issuer.hasPrefix(pattern[..<tenant.lowerBound])
                    && issuer.hasSuffix(pattern[tenant.upperBound...])
            }
    }

    /// How the client shows itself at the token endpoint (RFC 6749 §2.3.1, OpenID Connect Core §9).
    enum ClientAuthentication: String, Sendable {
        case post
        case basic
        /// As the issuer's discovery document has it.
        case published
        /// A secret that is a JWT, signed with the key that Apple has given out.
        case appleJWT
    }

    enum IDTokenUse: Sendable {
        case ignored
        /// Verified when there is one.
        case accepted
        /// The same, without a nonce: the provider doesn't return it.
        case acceptedWithoutNonce
        case required
    }

    /// What the provider has said of one user.
    struct Answers: Sendable {
        let token: JSON
        /// Of a verified ID token.
        var claims: JSON?
        var userinfo: JSON?
        var emails: JSON?
    }

    /// Whether it makes the browser post its answer.
    var answersByPost: Bool { parameters.contains { $0 == ("response_mode", "form_post") } }

    var sendsNonce: Bool {
        switch idToken {
        case .ignored, .acceptedWithoutNonce: false
        case .accepted, .required: true
        }
    }
}

/// Who somebody is, as a provider tells it.
struct OAuthProfile: Sendable, Equatable {
    static let subjectBytesMax = 255
    static let textBytesMax = 1024

    /// Never used for anybody else there.
    let subject: String
    /// Nil too where it is no address that this server takes.
    var email: EmailAddress?
    /// Only where the provider says itself that the user reads mail there.
    var isEmailVerified = false
    var name: String?
    var picture: String?

    /// Nil without a subject.
    init?(
        subject: JSON?,
        email: String? = nil,
        isEmailVerified: Bool = false,
        name: String? = nil,
        picture: String? = nil
    ) {
        guard let subject = subject?.identifier, (1...Self.subjectBytesMax).contains(subject.utf8.count),
            !subject.utf8.contains(0)
        else { return nil }
        func usable(_ text: String?) -> String? {
            text.flatMap { (1...Self.textBytesMax).contains($0.utf8.count) && !$0.utf8.contains(0) ? $0 : nil }
        }
        self.subject = subject
        self.email = email.flatMap { EmailAddress(parsing: $0) }.flatMap { $0.isGuests ? nil : $0 }
        self.isEmailVerified = self.email != nil && isEmailVerified
        self.name = usable(name)
        self.picture = usable(picture)
    }

    /// By the standard claims (OpenID Connect Core §5.1).
    ///
    /// One answer's word doesn't verify another's address, unless it is the same; the first that says anything of it decides.
    init?(openID answers: OAuthProvider.Answers, isVerified: (JSON) -> Bool = { $0["email_verified"] == true }) {
        let sources = [answers.claims, answers.userinfo].compactMap(\.self)
        func first(_ key: String) -> String? { sources.compactMap { $0[key]?.text }.first }
        let mail = sources.first { $0["email"]?.text?.isEmpty == false }
        self.init(
            subject: sources.compactMap { $0["sub"] ?? $0["id"] }.first,
            email: mail?["email"]?.text,
            isEmailVerified: sources.first { source in
                source["email"] == mail?["email"] && source["email_verified"] != nil
            }.map(isVerified) ?? false,
            name: first("name"),
            picture: first("picture")
        )
    }
}

extension JSON {
    /// A text, or a whole number as text: what APIs use to name things.
    var identifier: String? {
        switch self {
        case .string(let text): text
        case .integer(let number): String(number)
        case .null, .bool, .number, .array, .object: nil
        }
    }

    var elements: [JSON] {
        if case .array(let elements) = self { elements } else { [] }
    }
}
