/// What a sign-in flow has established: who, by what methods, how strongly, when.
///
/// Only ``Sessions/begin(_:from:)`` turns it into tokens.
struct Proof: Sendable {
    let subject: UserID
    /// Authentication method references (RFC 8176), such as `pwd`.
    let methods: [Method]
    let at: Timestamp

    enum Method: String, Sendable, Codable {
        /// A password.
        case password = "pwd"
    }
}
