/// A profile that waits to be linked to a user, as a one-time token keeps it.
struct PendingMerge: Sendable {
    let provider: String
    let displayName: String
    let realm: String
    let subject: String
    let email: String?

    init(_ profile: OAuthProfile, _ client: OAuthClient) {
        provider = client.provider.name
        displayName = client.provider.displayName
        realm = client.realm
        subject = profile.subject
        email = profile.email?.text
    }

    var payload: String {
        let json: JSON = [
            "provider": .string(provider), "display_name": .string(displayName), "realm": .string(realm),
            "subject": .string(subject), "email": .optional(email),
        ]
        return json.serialized
    }

    init?(payload: String) {
        guard let json = JSON(parsing: payload), let provider = json["provider"]?.text,
            let displayName = json["display_name"]?.text, let realm = json["realm"]?.text,
            let subject = json["subject"]?.text
        else { return nil }
        self.provider = provider
        self.displayName = displayName
        self.realm = realm
        self.subject = subject
        email = json["email"]?.text
    }
}

extension Identity {
    init(_ merge: PendingMerge, of user: UserID, in collection: Collection, at now: Timestamp, random: Random) {
        self.init(
            id: IdentityID(at: now, random: random),
            collectionID: collection.id,
            userID: user,
            provider: merge.provider,
            realm: merge.realm,
            subject: merge.subject,
            email: merge.email,
            createdAt: now,
            lastUsedAt: now
        )
    }

    init(
        _ profile: OAuthProfile,
        _ client: OAuthClient,
        of user: UserID,
        in collection: Collection,
        at now: Timestamp,
        random: Random
    ) {
        self.init(PendingMerge(profile, client), of: user, in: collection, at: now, random: random)
    }
}
