/// An account at a provider that becomes a user's once they have shown all that is asked of them, as a one-time token keeps it.
struct PendingLink: Sendable {
    let provider: String
    let displayName: String
    let realm: String
    let subject: String
    let email: String?
    let how: How

    /// What links it, as the audit log tells.
    enum How: String, Sendable {
        case registration, email, merge, connect
        /// By an email that nobody had shown to be theirs.
        case claim
    }

    var json: JSON {
        [
            "provider": .string(provider), "display_name": .string(displayName), "realm": .string(realm),
            "subject": .string(subject), "email": .optional(email), "how": .string(how.rawValue),
        ]
    }

    /// It as the user's, for ``Transaction/link(_:how:by:_:)``.
    func identity(of user: UserID, in collection: Collection, at now: Timestamp, random: Random) -> Identity {
        Identity(
            id: IdentityID(at: now, random: random),
            collectionID: collection.id,
            userID: user,
            provider: provider,
            realm: realm,
            subject: subject,
            email: email,
            createdAt: now,
            lastUsedAt: now
        )
    }
}

extension PendingLink {
    /// Nil for what ``json`` has not made.
    init?(_ json: JSON?) {
        guard let json, let provider = json["provider"]?.text, let displayName = json["display_name"]?.text,
            let realm = json["realm"]?.text, let subject = json["subject"]?.text,
            let how = json["how"]?.text.flatMap(How.init)
        else { return nil }
        self.init(
            provider: provider,
            displayName: displayName,
            realm: realm,
            subject: subject,
            email: json["email"]?.text,
            how: how
        )
    }
}
