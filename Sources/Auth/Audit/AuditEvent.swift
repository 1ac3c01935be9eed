/// Everything that the audit log can say happened.
///
/// One row each, written in the transaction that did it.
enum AuditEvent: String, CaseIterable, Sendable {
    case adminSetUp = "admin.set_up"
    case collectionCreated = "collection.created"
    case collectionUpdated = "collection.updated"
    case collectionUpdateReverted = "collection.update_reverted"
    case collectionDeleted = "collection.deleted"
    case settingsChanged = "settings.changed"
    case signingSecretRotated = "signing_secret.rotated"
    case signingSecretReplaced = "signing_secret.replaced"
    case userRegistered = "user.registered"
    case guestCreated = "guest.created"
    case guestPromoted = "guest.promoted"
    case guestRemoved = "guest.removed"
    case impersonationBegun = "impersonation.begun"
    case userCreated = "user.created"
    case userUpdated = "user.updated"
    case userDeleted = "user.deleted"
    case userStatusChanged = "user.status_changed"
    case passwordChanged = "password.changed"
    case passwordSet = "password.set"
    case passwordResetRequested = "password_reset.requested"
    case passwordReset = "password.reset"
    case recoveryRequested = "recovery.requested"
    case accountRecovered = "account.recovered"
    case oneTimeCodeRequested = "one_time_code.requested"
    case emailVerificationRequested = "email_verification.requested"
    case emailVerified = "email.verified"
    case emailChangeRequested = "email_change.requested"
    case emailChangeCancelled = "email_change.cancelled"
    case emailChanged = "email.changed"
    case registrationRefused = "registration.refused"
    case testMailSent = "test_mail.sent"
    case mfaSetUp = "mfa.set_up"
    case mfaEnabled = "mfa.enabled"
    case mfaDisabled = "mfa.disabled"
    case mfaReset = "mfa.reset"
    case recoveryCodesRegenerated = "recovery_codes.regenerated"
    case secondFactorRequired = "sign_in.second_factor_required"
    case secretCreated = "secret.created"
    case secretRemoved = "secret.removed"
    case apiKeyReassigned = "api_key.reassigned"
    case identityLinked = "identity.linked"
    case identityUnlinked = "identity.unlinked"
    case mergeRequired = "identity.merge_required"
    case accountClaimed = "account.claimed"
    case reauthenticated = "session.reauthenticated"
    case signInSucceeded = "sign_in.succeeded"
    case signInFailed = "sign_in.failed"
    case signInLocked = "sign_in.locked"
    case sessionEnded = "session.ended"
    case sessionsEnded = "sessions.ended"
    case fileTokenIssued = "file_token.issued"
    case budgetReached = "audit.budget_reached"
    case rowsWithheld = "audit.rows_withheld"
    case segmentClosed = "audit.segment_closed"
}

/// Who did something, and from where.
struct Actor: Sendable {
    /// Nil for somebody not signed in, and for the command line.
    let id: UserID?
    /// The admin behind an impersonation.
    var impersonatedBy: UserID?
    /// The session that they act in.
    var session: SessionID?
    /// The API key that they act by.
    var apiKey: SecretID?
    let client: Client

    static let commandLine = Actor(id: nil, client: .commandLine)
    /// Background upkeep.
    static let server = Actor(id: nil, client: .server)
}
