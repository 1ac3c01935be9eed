import Storage

/// What a sign-in flow has established: who, by what methods, how strongly, when.
///
/// Only ``Sessions/begin(_:in:lockout:from:as:by:insteadOf:with:)`` turns it into tokens.
struct Proof: Sendable {
    let subject: UserID
    /// Authentication method references (RFC 8176), such as `pwd`.
    let methods: [Method]
    let at: Timestamp
    /// The device secret, which ends the session with itself.
    var secret: SecretID?
    /// The provider's account that becomes the subject's with the session.
    var link: PendingLink?
    /// Takes what is spent by signing in, and tells whether the proof counts, in the transaction that starts the session.
    ///
    /// A password that was changed while its old hash was verified must not begin one, and a code begins one only once.
    let redeem: @Sendable (Transaction) throws -> Bool

    enum Method: String, Sendable, Codable {
        /// A password.
        case password = "pwd"
        /// A code of an authenticator, or a code or link that was mailed.
        case oneTimeCode = "otp"
        /// Nothing: a guest.
        case anonymous = "anon"
        /// The secret of a trusted device.
        case device
        /// A recovery code.
        case recoveryCode = "recovery"
        /// An account at a provider.
        case federated = "fed"
        /// More than one factor.
        case multiFactor = "mfa"

        /// Whether no second factor is asked for after it.
        var isSufficient: Bool { self == .multiFactor || self == .recoveryCode || self == .device }

        /// Whether a person has shown something, and not only a device.
        var isOfPerson: Bool { self != .device && self != .anonymous }
    }
}
