import Storage

/// What a sign-in flow has established: who, by what methods, how strongly, when.
///
/// Only ``Sessions/begin(_:from:)`` turns it into tokens.
struct Proof: Sendable {
    let subject: UserID
    /// Authentication method references (RFC 8176), such as `pwd`.
    let methods: [Method]
    let at: Timestamp
    /// Whether what was proved with still counts, asked in the transaction that starts the session: a password that was
    /// changed while its old hash was verified must not begin one.
    let isCurrent: @Sendable (Transaction) throws -> Bool

    enum Method: String, Sendable, Codable {
        /// A password.
        case password = "pwd"
    }
}
