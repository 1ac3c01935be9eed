/// What the owner of an account is told of, in case it wasn't them.
///
/// One call for every flow: ``Outbox/notify(_:at:of:in:from:_:)``.
enum Notice: Sendable {
    case passwordChanged
    /// Told to the address that would be left.
    case emailChangeRequested(to: String)
    /// Told to the address that was left.
    case emailChanged(to: String)
    case recoveryUsed
    /// The address of an account with other ways to sign in was confirmed by signing in by mail.
    case confirmedBySignIn(since: Timestamp)
    case secondFactorRemoved
    case recoveryCodeUsed
    case recoveryCodesReplaced
    /// Another way to sign in was added, such as a device or a provider.
    case signInMethodAdded(String)
    /// Whoever owns the address has signed in by a provider, to an account whose address nobody had confirmed.
    case accountClaimed(by: String, since: Timestamp)
    /// An admin acts in their place.
    case impersonated
    /// Somebody tried to register with the address of this account.
    case registrationAttempted

    /// Told however many were told before: who is shut out by it must not be kept from learning that.
    var isUrgent: Bool {
        switch self {
        case .passwordChanged, .emailChanged, .recoveryUsed, .secondFactorRemoved, .accountClaimed: true
        case .emailChangeRequested, .confirmedBySignIn, .recoveryCodeUsed, .recoveryCodesReplaced, .signInMethodAdded,
            .impersonated, .registrationAttempted:
            false
        }
    }

    /// A sentence, and the subject.
    var event: String {
        switch self {
        case .passwordChanged: "Your password was changed"
        case .emailChangeRequested: "A change of your email address was asked for"
        case .emailChanged: "Your email address was changed"
        case .recoveryUsed: "Your account was recovered"
        case .confirmedBySignIn: "Your address is confirmed"
        case .recoveryCodeUsed: "A recovery code was used to sign in"
        case .recoveryCodesReplaced: "Your recovery codes were replaced"
        case .secondFactorRemoved: "Your second factor was removed"
        case .signInMethodAdded: "A way to sign in was added to your account"
        case .accountClaimed: "Your address is confirmed"
        case .impersonated: "Somebody of our support has looked at your account"
        case .registrationAttempted: "You already have an account"
        }
    }

    var explanation: String {
        switch self {
        case .passwordChanged:
            "Every device was signed out. If it was not you, set a new password at once, by “forgot password”."
        case .emailChangeRequested(let email):
            """
            It is to become \(email), once that is confirmed from there. If it was not you, change your password now: \
            whoever asked is signed in as you.
            """
        case .emailChanged(let email):
            "It is \(email) now, and mails go there. If it was not you, write to whoever runs this service."
        case .recoveryUsed:
            """
            A new password was set with a link that was mailed to you, and every device was signed out. If it was not you, \
            your mailbox may be in others' hands.
            """
        case .confirmedBySignIn(let since):
            """
            You have signed in by mail to an account that was made at \(since.rfc3339), and that can be signed in to otherwise. If it \
            was not you who made it, set a new password by “forgot password”: it signs out everybody else, and removes \
            whatever was set up before today but for an authenticator app.
            """
        case .recoveryCodeUsed:
            "It is spent. If it was not you, make new codes and change your password."
        case .recoveryCodesReplaced:
            "The former ones are dead. If it was not you, change your password, set up the second factor anew, and keep the new codes."
        case .secondFactorRemoved:
            "Signing in asks for no second factor any more. If it was not you, change your password and set it up again."
        case .signInMethodAdded(let method):
            "It is: \(method). If it was not you, remove it and change your password."
        case .accountClaimed(let provider, let since):
            """
            You have signed in by \(provider) to an account that was made at \(since.rfc3339) and never confirmed. Since it may \
            have been made by somebody else, its password and every other way to sign in were removed. If you had chosen a \
            password, choose a new one by “forgot password”.
            """
        case .impersonated:
            """
            An admin acts in your place for up to an hour, to help you. They can't see or change your password, email or second \
            factor. If you have not asked for help, write to whoever runs this service.
            """
        case .registrationAttempted:
            """
            Somebody, maybe you, tried to make an account with your address. Nothing has changed. Sign in as before; if you \
            don't remember the password, ask for a new one.
            """
        }
    }
}
