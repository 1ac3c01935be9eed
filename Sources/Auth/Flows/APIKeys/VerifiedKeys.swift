import Synchronization

/// Remembers which API key a text was once verified to be, so that Argon2id runs once a key and process.
///
/// It is no cache that could be stale: that a text is the value of a key stays true as long as there is such a key, which
/// is looked up apart from it. Texts are held as keyed digests. A class, since it gathers over requests.
final class VerifiedKeys: Sendable {
    static let countMax = 5000

    private struct State {
        var known: [Digest: SecretID] = [:]
        /// Those not asked for lately, which go first.
        var older: [Digest: SecretID] = [:]
        var underWay: [Digest: Task<Bool, any Error>] = [:]
    }

    private let state = Mutex(State())

    func id(_ lookup: Digest) -> SecretID? {
        state.withLock { state in
            if let id = state.known[lookup] { return id }
            guard let id = state.older.removeValue(forKey: lookup) else { return nil }
            Self.insert(id, for: lookup, into: &state)
            return id
        }
    }

    /// Whether the text is the key's, as `verify` finds out: once for any number of requests that come meanwhile.
    func isVerified(_ lookup: Digest, as id: SecretID, _ verify: @escaping @Sendable () async throws -> Bool)
        async throws -> Bool
    {
        let task = state.withLock { state in
            let task = state.underWay[lookup] ?? Task { try await verify() }
            state.underWay[lookup] = task
            return task
        }
        defer { state.withLock { $0.underWay[lookup] = nil } }
        guard try await task.value else { return false }
        state.withLock { Self.insert(id, for: lookup, into: &$0) }
        return true
    }

    private static func insert(_ id: SecretID, for lookup: Digest, into state: inout State) {
        if state.known.count >= countMax {
            state.older = state.known
            state.known = [:]
        }
        state.known[lookup] = id
    }
}
