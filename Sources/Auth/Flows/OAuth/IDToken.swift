/// An ID token whose signature and claims hold (OpenID Connect Core §3.1.3.7).
struct IDToken: Sendable {
    let claims: JSON

    static let bytesMax = 16_384
    /// How far the clocks of a provider and of this server may be apart.
    private static let skewSeconds = 60
    /// How far off the end of one may be that is kept until then, so that it is not used again.
    static let keptSecondsMax = 86_400 + skewSeconds
    private static let ageSecondsMax = 86_400

    /// What a token must say.
    struct Expectation: Sendable {
        let issuers: [String]
        /// The client's ids, of which one is meant.
        let audiences: [String]
        /// Nil when none was asked for.
        let nonce: Nonce?
        /// How far off its end may be; nil for any.
        var endSecondsMax: Int?
        let now: Timestamp
    }

    enum Nonce: Sendable {
        case exactly(String)
        /// Mobile applications hand the provider the digest of a nonce, in hexadecimal, and keep the nonce.
        case plainOrHashed(String)

        fileprivate func matches(_ claim: JSON?) -> Bool {
            switch self {
            case .exactly(let nonce): claim == .string(nonce)
            case .plainOrHashed(let nonce):
                claim == .string(nonce) || claim == .string(Hex.encode(Digest(of: nonce).bytes))
            }
        }
    }

    /// What is wrong with a token; for the log.
    struct Problem: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }

        static let wrongSignature = Problem("its signature is wrong")
        var isWrongSignature: Bool { description == Self.wrongSignature.description }
    }

    /// What a token's header says, before anything is verified: which key to look for.
    struct Header: Sendable {
        let algorithm: String
        let keyID: String?

        /// Throws ``Problem`` for what is no JWS with a key of its issuer.
        init(of token: String) throws {
            let parts = token.split(separator: ".", omittingEmptySubsequences: false)
            guard token.utf8.count <= IDToken.bytesMax, parts.count == 3,
                let header = Base64URL.decode(parts[0]).flatMap({ JSON(parsing: $0) }),
                let algorithm = header["alg"]?.text
            else { throw Problem("it is no signed JWT") }
            // Extensions that must be understood (RFC 7515 §4.1.11) are not.
            guard header["crit"] == nil, header["b64"] == nil else { throw Problem("its header has extensions") }
            if let type = header["typ"]?.text, type.lowercased() != "jwt" {
                throw Problem("it is another kind of token")
            }
            guard header["kid"].map({ $0.text != nil }) ?? true else { throw Problem("its key's id is no text") }
            self.algorithm = algorithm
            keyID = header["kid"]?.text
        }

        /// The one key that may have signed; nil when there is none, or no telling which.
        func key(among keys: [JSONWebKey]) -> JSONWebKey? {
            let fitting = keys.filter { $0.verifies(algorithm) && (keyID == nil || $0.id == keyID) }
            return fitting.count == 1 ? fitting[0] : nil
        }
    }

    /// Throws ``Problem``.
    init(_ token: String, signedBy key: JSONWebKey, _ expected: Expectation) throws {
        let header = try Header(of: token)
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        let signed = Array(token.utf8.prefix(parts[0].utf8.count + 1 + parts[1].utf8.count))
        guard let signature = Base64URL.decode(parts[2]),
            key.isValid(signature, of: signed, by: header.algorithm)
        else { throw Problem.wrongSignature }
        guard let claims = Base64URL.decode(parts[1]).flatMap({ JSON(parsing: $0) }) else {
            throw Problem("its claims are no JSON")
        }
        self.claims = claims
        guard let issuer = claims["iss"]?.text, expected.issuers.contains(where: { Self.names($0, issuer, claims) })
        else { throw Problem("its issuer is another") }
        try Self.checkAudience(claims, expected.audiences)
        try Self.checkTimes(claims, endSecondsMax: expected.endSecondsMax, at: expected.now)
        guard expected.nonce.map({ $0.matches(claims["nonce"]) }) ?? true else { throw Problem("its nonce is wrong") }
        guard claims["sub"]?.text?.isEmpty == false else { throw Problem("it has no subject") }
        // Some make access tokens alike, and say so in a claim (Keycloak).
        guard claims["typ"] == nil || claims["typ"] == "ID" else { throw Problem("it is another kind of token") }
    }

    private static func names(_ pattern: String, _ issuer: String, _ claims: JSON) -> Bool {
        guard pattern.contains("{tenantid}") else { return pattern == issuer }
        guard let tenant = claims["tid"]?.text, tenant.wholeMatch(of: /[0-9a-fA-F-]{36}/) != nil else { return false }
        return pattern.replacing("{tenantid}", with: tenant) == issuer
    }

    private static func checkAudience(_ claims: JSON, _ audiences: [String]) throws {
        let named: [JSON] =
            switch claims["aud"] {
            case .array(let names)?: names
            case let name?: [name]
            case nil: []
            }
        let isMeant = named.contains { name in audiences.contains { name == .string($0) } }
        guard isMeant else { throw Problem("its audience is another") }
        // For whom it was issued, where that need not be its audience.
        if named.count > 1 || claims["azp"] != nil {
            guard let party = claims["azp"]?.text, audiences.contains(party) else {
                throw Problem("its authorized party is another")
            }
        }
    }

    private static func checkTimes(_ claims: JSON, endSecondsMax: Int?, at now: Timestamp) throws {
        guard let expiry = time(claims["exp"]) else { throw Problem("it has no end") }
        guard expiry > now else { throw Problem("it has expired") }
        if let endSecondsMax, expiry >= now.advanced(bySeconds: endSecondsMax) {
            throw Problem("its end is too far off")
        }
        for name in ["iat", "nbf"] {
            guard let claim = claims[name] else { continue }
            guard let from = time(claim), from < now.advanced(bySeconds: skewSeconds) else {
                throw Problem("it is not valid yet")
            }
            guard name != "iat" || from > now.advanced(bySeconds: -ageSecondsMax) else {
                throw Problem("it is too old")
            }
        }
    }

    /// A NumericDate (RFC 7519 §2), whole or not.
    private static func time(_ claim: JSON?) -> Timestamp? {
        switch claim {
        case .integer(let seconds)? where (0..<1 << 40).contains(seconds): Timestamp(seconds: seconds)
        case .number(let seconds)? where seconds >= 0 && seconds < Double(1 << 40):
            Timestamp(milliseconds: Int64(seconds * 1000))
        default: nil
        }
    }
}
