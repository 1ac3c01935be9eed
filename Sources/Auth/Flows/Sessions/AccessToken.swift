import Storage

/// What a token looks like: a JWT tells its claims, an opaque one nothing.
enum TokenType: String, Sendable, CaseIterable {
    case jwt
    case opaque
}

/// What kind of token a sign-in is to give, and for how long.
struct TokenWish: Sendable, Equatable {
    var type = TokenType.jwt
    /// Of an opaque token; nil for its window.
    var notValidAfter: Timestamp?
}

extension TokenWish {
    /// For the shapes of bodies.
    static let members: [Member] = [.optional("token_type", .text), .optional("not_valid_after", .time)]
    /// Of an opaque token; a session's own end comes first.
    fileprivate static let secondsMax = 365 * 86_400
}

extension Fields {
    /// `token_type` and `not_valid_after`.
    mutating func tokenWish() -> TokenWish {
        let type = choice("token_type", of: TokenType.self) ?? .jwt
        guard let end = futureTime("not_valid_after") else { return TokenWish(type: type) }
        if type == .jwt {
            refuse("not_valid_after", "can't be set for a jwt")
        } else if end > time.advanced(bySeconds: TokenWish.secondsMax) {
            refuse("not_valid_after", "must be within 365 days")
        }
        return TokenWish(type: type, notValidAfter: Timestamp(seconds: end.seconds))
    }
}

/// An opaque token of a session, as the session's row keeps it: its digest, never itself.
struct AccessToken: Sendable, Equatable {
    /// A further one takes the place of the oldest but the first.
    static let countMax = 8

    let digest: Digest
    let expiresAt: Timestamp

    /// Those of `text`, which ``text(_:)`` has made.
    static func list(_ text: String?) throws -> [AccessToken] {
        try (text ?? "").split(separator: " ").map { part in
            let halves = part.split(separator: ":")
            guard halves.count == 2, let bytes = Base64URL.decode(halves[0]), let seconds = Int64(halves[1]),
                let digest = Digest(sqlValue: .blob(bytes))
            else { throw DatabaseError.unreadable("access_tokens") }
            return AccessToken(digest: digest, expiresAt: Timestamp(seconds: seconds))
        }
    }

    static func text(_ tokens: [AccessToken]) -> String? {
        guard !tokens.isEmpty else { return nil }
        return tokens.map { "\(Base64URL.encode($0.digest.bytes)):\($0.expiresAt.seconds)" }.joined(separator: " ")
    }
}
