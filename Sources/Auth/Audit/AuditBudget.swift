import Storage

/// How many rows of an event the audit log takes within an hour.
///
/// Further rows are only counted, and one row of ``AuditEvent/rowsWithheld`` tells the count after the hour.
enum AuditBudget: Sendable {
    /// Rows of an event within an hour that requests from an address can cause, or that are about one account.
    static let strangerRowsPerHourMax = 100
    /// Rows of an event within an hour that the owner of an account can cause.
    static let ownerRowsPerHourMax = 300

    /// Anybody can cause it over and over.
    case strangers
    /// The owner of an account can cause it over and over.
    case owners
    /// Admins, the command line and the server cause it, or it happens once to an account or needs a mailed token.
    case unlimited

    /// The budget that a row is taken from.
    struct Share: Sendable {
        let key: Digest
        let rowsMax: Int
        /// The account or, where it is nil, the address.
        let subject: UserID?
        let address: String?
    }

    /// Every share must have room for the row; none for what is unlimited.
    static func shares(of event: AuditEvent, by actor: Actor, on subject: UserID?) -> [Share] {
        guard actor.client.address != Client.server.address else { return [] }
        switch event.budget {
        case .unlimited: return []
        case .owners:
            // An admin who changes the accounts of others is told of in every row.
            guard let subject, actor.id == subject, actor.impersonatedBy == nil else { return [] }
            return [Share(account: subject, event, rowsMax: ownerRowsPerHourMax)]
        case .strangers:
            let address = Share(address: actor.client.address, event, rowsMax: strangerRowsPerHourMax)
            return [address] + (subject.map { [Share(account: $0, event, rowsMax: strangerRowsPerHourMax)] } ?? [])
        }
    }
}

extension AuditBudget.Share {
    fileprivate init(account: UserID, _ event: AuditEvent, rowsMax: Int) {
        key = Digest(of: "account:\(account):\(event.rawValue)")
        self.rowsMax = rowsMax
        subject = account
        address = nil
    }

    fileprivate init(address: String, _ event: AuditEvent, rowsMax: Int) {
        key = Digest(of: "address:\(AddressRange.limitKey(address)):\(event.rawValue)")
        self.rowsMax = rowsMax
        subject = nil
        self.address = address
    }
}

extension AuditEvent {
    fileprivate var budget: AuditBudget {
        switch self {
        case .signInFailed, .signInLocked, .secondFactorRequired, .registrationRefused, .passwordResetRequested,
            .recoveryRequested, .oneTimeCodeRequested, .emailVerificationRequested, .mergeRequired:
            .strangers
        case .userUpdated, .passwordChanged, .mfaSetUp, .mfaEnabled, .mfaDisabled, .recoveryCodesRegenerated,
            .secretCreated, .secretRemoved, .apiKeyReassigned, .identityLinked, .identityUnlinked, .reauthenticated,
            .signInSucceeded, .sessionEnded, .sessionsEnded, .fileTokenIssued, .emailChangeRequested,
            .emailChangeCancelled:
            .owners
        case .adminSetUp, .collectionCreated, .collectionUpdated, .collectionUpdateReverted, .collectionDeleted,
            .settingsChanged, .signingSecretRotated, .signingSecretReplaced, .userRegistered, .guestCreated,
            .guestPromoted, .guestRemoved, .impersonationBegun, .userCreated, .userDeleted, .userStatusChanged,
            .passwordSet, .passwordReset, .accountRecovered, .emailVerified, .emailChanged, .testMailSent, .mfaReset,
            .accountClaimed, .budgetReached, .rowsWithheld, .segmentClosed:
            .unlimited
        }
    }
}
