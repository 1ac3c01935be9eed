import Storage

/// Which secret signs: what a start finds, and what `latchkey secret rotate` changes.
struct SigningSecretChange: Sendable {
    let services: Services

    private var secrets: SigningSecrets { services.signingSecrets }

    /// Compares the secret of this node with the one that the database knows to be in force.
    ///
    /// A node without one gets the database's, and so does one that was away while it was rotated. One that was replaced
    /// here logs everyone out: every session ends with the reason `secret_rotated`. Throws ``Installation/Unusable`` when
    /// another node's is in force.
    ///
    /// The server's alone: a command without the server's environment must not take another secret for the new one.
    func prepare() async throws {
        let own = try secrets.fixed ?? secrets.file.read()
        let mark = secrets.file.mark
        let fresh = Secret(Array(Base64URL.encode(services.random.bytes(SigningSecrets.generatedBytes)).utf8))
        let now = services.clock.now()
        let found: Found = try await services.db.writeAlone { [services] tx in
            let stored = try tx.storedSigningSecrets()
            let found = Found(own, stored, mark: mark, secrets)
            switch found {
            case .kept(let secret):
                // A database that was used before it held secrets.
                if secrets.fixed == nil && stored[SigningKey.fingerprint(of: secret)]?.sealed == nil {
                    try put(secret, keepingPrevious: true, at: now, in: tx)
                }
            case .first: try put(own ?? fresh, keepingPrevious: true, at: now, in: tx)
            case .replaced:
                try put(own ?? fresh, keepingPrevious: false, at: now, in: tx)
                try tx.endAllSessions(because: .secretRotated, at: now)
                try tx.audit(.signingSecretReplaced, by: .commandLine, services)
            case .joined, .foreign: break
            }
            return found
        }
        switch found {
        case .kept(let secret): try keep(secret)
        case .first, .replaced: try keep(own ?? fresh)
        case .joined(let stored):
            guard let secret = stored.open(services.sealingKey) else { throw Self.foreign }
            try keep(secret)
        case .foreign: throw Self.foreign
        }
    }

    /// What a start finds.
    private enum Found: Sendable {
        /// The one in force.
        case kept(Secret<[UInt8]>)
        /// None is in force yet.
        case first
        /// Another one, or none, where the one in force was before.
        case replaced
        /// None yet, or one that was rotated away: the database has the right one.
        case joined(StoredSigningSecret)
        /// Another one, which this node never had in force.
        case foreign

        init(_ own: Secret<[UInt8]>?, _ stored: StoredSigningSecrets, mark: String?, _ secrets: SigningSecrets) {
            guard let inForce = stored.fingerprint else {
                self = .first
                return
            }
            let fingerprint = own.map(SigningKey.fingerprint)
            if let own, fingerprint == inForce {
                self = .kept(own)
                return
            }
            // Only where the one in force was before can its file have been replaced or deleted.
            let wasHere = secrets.fixed == nil && mark == inForce
            let isMissing = own == nil && !wasHere
            let isRotatedAway = fingerprint.map { stored[$0] != nil } ?? false
            if secrets.fixed == nil, isMissing || isRotatedAway, let known = stored[inForce], known.sealed != nil {
                self = .joined(known)
            } else if wasHere || !secrets.isShared {
                self = .replaced
            } else {
                self = .foreign
            }
        }
    }

    /// `latchkey secret rotate`: a fresh secret; nobody is logged out unless asked for.
    ///
    /// A secret from the environment is changed there; with `loggingEveryoneOut`, this then declares it to be in force.
    func rotate(loggingEveryoneOut: Bool) async throws {
        if let fixed = secrets.fixed { return try await declare(fixed, loggingEveryoneOut: loggingEveryoneOut) }
        let fresh = Secret(Array(Base64URL.encode(services.random.bytes(SigningSecrets.generatedBytes)).utf8))
        let now = services.clock.now()
        try await services.db.write { tx in
            let stored = try tx.storedSigningSecrets()
            guard let known = stored.fingerprint, stored[known] != nil else {
                throw Installation.Unusable(
                    description:
                        "The server signs with another secret than the one of this data directory. Start it once with this one first."
                )
            }
            try put(fresh, keepingPrevious: !loggingEveryoneOut, at: now, in: tx)
            try noteRotation(loggingEveryoneOut: loggingEveryoneOut, at: now, in: tx)
        }
        // After the commit: a crash in between leaves a file that was rotated away, and the next start mends it.
        try keep(fresh)
    }

    private func declare(_ fixed: Secret<[UInt8]>, loggingEveryoneOut: Bool) async throws {
        let fingerprint = SigningKey.fingerprint(of: fixed)
        guard loggingEveryoneOut, try await services.db.read({ tx in try tx.fingerprint(of: .signing) }) != fingerprint
        else {
            throw Installation.Unusable(
                description: """
                    The signing secret comes from LATCHKEY_JWT_SECRET: change it there, for this command first with \
                    --logout-everyone, then for every node.
                    """
            )
        }
        let now = services.clock.now()
        try await services.db.write { tx in
            try put(fixed, keepingPrevious: false, at: now, in: tx)
            try noteRotation(loggingEveryoneOut: true, at: now, in: tx)
        }
    }

    private func noteRotation(loggingEveryoneOut: Bool, at now: Timestamp, in tx: Transaction) throws {
        if loggingEveryoneOut { try tx.endAllSessions(because: .secretRotated, at: now) }
        let details: AuditDetails = ["logout_everyone": .bool(loggingEveryoneOut)]
        try tx.audit(.signingSecretRotated, by: .commandLine, details: details, services)
    }

    private func put(_ secret: Secret<[UInt8]>, keepingPrevious: Bool, at now: Timestamp, in tx: Transaction) throws {
        let stored =
            secrets.fixed == nil
            ? try StoredSigningSecret(secret, sealedWith: services.sealingKey, random: services.random) : nil
        try tx.replaceSigningSecret(
            by: SigningKey.fingerprint(of: secret),
            stored,
            keepingPrevious: keepingPrevious,
            at: now
        )
    }

    private func keep(_ secret: Secret<[UInt8]>) throws {
        if secrets.fixed == nil { try secrets.file.keep(secret) }
    }

    private static let foreign = Installation.Unusable(
        description: """
            This node's signing secret is not the one that the database's other nodes sign with. Give it theirs: the same \
            LATCHKEY_JWT_SECRET, or no .secret of its own in the data directory (it then takes the database's). To change \
            the secret of all nodes, run `latchkey secret rotate`.
            """
    )
}
