import Storage

/// Where the signing secret comes from: the environment, or the database, where it lies sealed, so that every node has it.
struct SigningSecrets: Sendable {
    /// No token lives longer, so no key is needed for longer.
    static let previousKeptSeconds = Window.secondsMax
    static let generatedBytes = 48

    let file: SigningSecretFile
    /// From the environment: then neither the file nor the database holds it.
    let fixed: Secret<[UInt8]>?
    let algorithm: SigningAlgorithm
    /// Whether other nodes may use the same database.
    let isShared: Bool

    /// The keys in force, of what the database holds.
    ///
    /// Throws `unavailable` on a node whose secret the others no longer sign with.
    func keys(_ stored: StoredSigningSecrets, _ sealingKey: SealingKey) throws -> SigningKeys {
        if let fixed {
            guard stored.fingerprint == SigningKey.fingerprint(of: fixed) else {
                throw AuthError(
                    .unavailable,
                    "This node signs with another secret than the rest. Its operator must give it the same LATCHKEY_JWT_SECRET.",
                    retryAfterSeconds: 30
                )
            }
            return SigningKeys(current: try SigningKey(secret: fixed, algorithm: algorithm), previous: [])
        }
        let secrets = try stored.secrets.filter { $0.sealed != nil }.map { stored in
            guard let secret = stored.open(sealingKey) else {
                throw AuthError(.unexpected, cause: DatabaseError.unreadable("signing_secrets"))
            }
            return (fingerprint: stored.fingerprint, key: try SigningKey(secret: secret, algorithm: algorithm))
        }
        guard let current = secrets.first(where: { $0.fingerprint == stored.fingerprint }) else {
            throw AuthError(
                .unavailable,
                "This node lacks the signing secret of the rest. Its operator must give it the same LATCHKEY_JWT_SECRET.",
                retryAfterSeconds: 30
            )
        }
        let previous = secrets.filter { $0.fingerprint != current.fingerprint }
        return SigningKeys(current: current.key, previous: previous.map { $0.key })
    }
}

/// What the database knows of signing secrets.
struct StoredSigningSecrets: Sendable {
    /// Of the one in force; nil in a new database.
    let fingerprint: String?
    /// Those that did not come from an environment.
    let secrets: [StoredSigningSecret]

    subscript(_ fingerprint: String) -> StoredSigningSecret? {
        secrets.first { $0.fingerprint == fingerprint }
    }
}

/// A signing secret as the database holds it.
struct StoredSigningSecret: Sendable {
    let fingerprint: String
    /// Nil for one that must verify nothing any more.
    let sealed: String?

    init(fingerprint: String, sealed: String?) {
        self.fingerprint = fingerprint
        self.sealed = sealed
    }

    init(_ secret: Secret<[UInt8]>, sealedWith key: SealingKey, random: Random) throws {
        fingerprint = SigningKey.fingerprint(of: secret)
        sealed = try key.seal(
            Base64URL.encode(secret.reveal()),
            place: Self.place(fingerprint),
            random: random
        )
    }

    func open(_ key: SealingKey) -> Secret<[UInt8]>? {
        sealed.flatMap { key.open($0, place: Self.place(fingerprint)) }.flatMap { Base64URL.decode($0.reveal()) }
            .map(Secret.init)
    }

    private static func place(_ fingerprint: String) -> String { "signing_secret:\(fingerprint)" }
}
