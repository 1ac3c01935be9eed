import Storage

/// The kinds of mail that there are.
///
/// An operator may replace subject and body of each by the settings `email.<template>.subject` and `.body`.
enum MailTemplate: String, Sendable, CaseIterable, SQLConvertible {
    case verify
    case reset
    case otp
    case emailChange = "email_change"
    case recover
    /// Tells the owner of an account what has happened to it.
    case notice

    var subjectKey: String { "email.\(rawValue).subject" }
    var bodyKey: String { "email.\(rawValue).body" }

    /// What the token that it carries is good for; nil for one without a token.
    var purpose: SingleUsePurpose? {
        switch self {
        case .verify: .verify
        case .reset: .reset
        case .otp: .otp
        case .emailChange: .emailChange
        case .recover: .recover
        case .notice: nil
        }
    }

    /// The page that its link opens; nil for one without a link.
    var page: String? {
        switch self {
        case .verify: "/auth/verify"
        case .reset: "/auth/reset"
        case .otp: "/auth/otp"
        case .emailChange: "/auth/email-change"
        case .recover: "/auth/recover"
        case .notice: nil
        }
    }

    var builtInSubject: String {
        switch self {
        case .verify: "Confirm your email address"
        case .reset: "Set a new password"
        case .otp: "{{code}} is your sign-in code"
        case .emailChange: "Confirm your new email address"
        case .recover: "Recover your account"
        case .notice: "{{event}}"
        }
    }

    /// Plain text: the HTML part is made of it.
    var builtInBody: String {
        switch self {
        case .verify:
            """
            Please confirm that {{email}} is your address:

            {{link}}

            The link works once, for 24 hours. If you have not made an account, ignore this mail: nothing happens without \
            you.
            """
        case .reset:
            """
            Somebody, probably you, asked for a new password for {{email}}. Set it here:

            {{link}}

            The link works once, for an hour. If it was not you, ignore this mail: your password stays as it is.
            """
        case .otp:
            """
            Your sign-in code is:

            {{code}}

            Or sign in with this link:

            {{link}}

            Both work once, for 10 minutes. Tell the code to nobody. If you did not ask for it, ignore this mail.
            """
        case .emailChange:
            """
            Please confirm that {{email}} is the new address of your account:

            {{link}}

            The link works once, for 24 hours. If you did not ask for this, ignore this mail: nothing changes without you.
            """
        case .recover:
            """
            Somebody, probably you, asked to recover the account of {{email}}. Set a new password here:

            {{link}}

            The link works once, for an hour. If it was not you, ignore this mail: your account stays as it is.
            """
        case .notice:
            """
            {{event}}

            {{explanation}}

            When: {{time}}
            From: {{address}}
            """
        }
    }
}
