/// A refusal: a code of the closed list, and what the caller may know.
///
/// The cause is for the log only.
struct AuthError: Error {
    let code: Code
    /// A sentence in place of the code's own.
    var message: String?
    /// Field → what is wrong with it.
    var details: [String: String] = [:]
    var cause: (any Error)?
    /// Seconds until another try makes sense; sent as `Retry-After`.
    var retryAfterSeconds: Int?

    init(
        _ code: Code,
        _ message: String? = nil,
        details: [String: String] = [:],
        cause: (any Error)? = nil,
        retryAfterSeconds: Int? = nil
    ) {
        self.code = code
        self.message = message
        self.details = details
        self.cause = cause
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// Every code that an answer can carry.
    ///
    /// `docs/errors.md` says what each means and what to do; a test compares the two.
    enum Code: String, CaseIterable, Sendable {
        case malformed
        case invalidOneTimeToken = "invalid_one_time_token"
        case alreadySetUp = "already_set_up"
        case invalidOAuthState = "invalid_oauth_state"
        case oauthRefused = "oauth_refused"
        case invalidIDToken = "invalid_id_token"
        case oauthProfileIncomplete = "oauth_profile_incomplete"
        case unauthenticated
        case invalidToken = "invalid_token"
        case tokenExpired = "token_expired"
        case sessionEnded = "session_ended"
        case invalidCredentials = "invalid_credentials"
        case reauthenticationRequired = "reauthentication_required"
        case forbidden
        case sessionRequired = "session_required"
        case mfaEnrolmentRequired = "mfa_enrolment_required"
        case notFound = "not_found"
        case methodNotAllowed = "method_not_allowed"
        case emailTaken = "email_taken"
        case usernameTaken = "username_taken"
        case valueTaken = "value_taken"
        case nameTaken = "name_taken"
        case lastAdmin = "last_admin"
        case builtIn = "built_in"
        case mfaEnabled = "mfa_enabled"
        case secretExists = "secret_exists"
        case lastWayIn = "last_way_in"
        case tooManySecrets = "too_many_secrets"
        case identityTaken = "identity_taken"
        case providerAlreadyLinked = "provider_already_linked"
        case mfaNotSetUp = "mfa_not_set_up"
        case tooLarge = "too_large"
        case headTooLarge = "head_too_large"
        case unsupportedMediaType = "unsupported_media_type"
        case validationFailed = "validation_failed"
        case featureDisabled = "feature_disabled"
        case providerDisabled = "provider_disabled"
        case mailNotConfigured = "mail_not_configured"
        case mailNotSent = "mail_not_sent"
        case rateLimited = "rate_limited"
        case lockedOut = "locked_out"
        case providerFailed = "provider_failed"
        case overloaded
        case unavailable
        case unexpected
    }
}

extension AuthError.Code {
    var status: Int {
        switch self {
        case .malformed, .invalidOneTimeToken, .alreadySetUp, .mfaNotSetUp, .invalidOAuthState, .oauthRefused,
            .invalidIDToken, .oauthProfileIncomplete:
            400
        case .unauthenticated, .invalidToken, .tokenExpired, .sessionEnded, .invalidCredentials,
            .reauthenticationRequired:
            401
        case .forbidden, .sessionRequired, .mfaEnrolmentRequired: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .emailTaken, .usernameTaken, .valueTaken, .nameTaken, .lastAdmin, .builtIn, .mfaEnabled, .secretExists,
            .lastWayIn, .tooManySecrets, .identityTaken, .providerAlreadyLinked:
            409
        case .tooLarge: 413
        case .headTooLarge: 431
        case .unsupportedMediaType: 415
        case .validationFailed, .featureDisabled, .providerDisabled, .mailNotConfigured, .mailNotSent: 422
        case .rateLimited, .lockedOut: 429
        case .unexpected: 500
        case .providerFailed: 502
        case .overloaded, .unavailable: 503
        }
    }

    /// The sentence for people.
    var text: String {
        switch self {
        case .malformed: "The request could not be read."
        case .invalidOneTimeToken: "This link or code is wrong, expired or already used. Ask for a new one."
        case .alreadySetUp: "This server already has an admin. Log in, or use `latchkey admin create` on the server."
        case .invalidOAuthState:
            "This sign-in has expired, was finished before, or was begun elsewhere. Start it again."
        case .oauthRefused: "The provider refuses this sign-in. Start it again."
        case .invalidIDToken: "The provider's ID token is not valid."
        case .oauthProfileIncomplete: "The provider did not tell enough about you."
        case .identityTaken: "This account at the provider belongs to another user."
        case .providerAlreadyLinked: "Another account at this provider is linked already. Unlink it first."
        case .providerDisabled: "Sign-in by this provider is off."
        case .providerFailed: "The provider can't be asked at the moment. Try again later."
        case .unauthenticated: "This needs a credential: send it as `Authorization: Bearer <token>`."
        case .invalidToken: "This token is not valid here. Log in again."
        case .tokenExpired: "This token has expired. Log in again."
        case .sessionEnded: "This session has ended. Log in again."
        case .invalidCredentials: "The name or the password is wrong."
        case .reauthenticationRequired: "Show again that it is you: this can't be taken back."
        case .mfaEnrolmentRequired:
            "This account must have a second factor. Set one up by totp/setup and totp/confirm; until then nothing else works."
        case .forbidden: "You may not do this."
        case .sessionRequired: "An API key can't do this: log in."
        case .notFound: "There is nothing here."
        case .methodNotAllowed: "This route doesn't take this method."
        case .emailTaken: "This email is already taken."
        case .usernameTaken: "This username is already taken."
        case .valueTaken: "This value is already taken."
        case .nameTaken: "This name is already taken."
        case .lastAdmin: "The last admin can't be removed."
        case .builtIn: "This is built in and can't be removed or renamed."
        case .mfaEnabled: "This account has a second factor already. Disable it first."
        case .secretExists: "This account has a password already. Replace it by PUT /api/users/me/secrets/password."
        case .lastWayIn: "This is the account's last way in. Add another one first."
        case .tooManySecrets: "This account has too many secrets of this type. Remove one first."
        case .mfaNotSetUp: "This account has no second factor set up."
        case .tooLarge: "The body is larger than 1 MiB."
        case .headTooLarge: "The request's target and headers are too large."
        case .unsupportedMediaType: "Send JSON, with `Content-Type: application/json`."
        case .validationFailed: "validation failed"
        case .featureDisabled: "This feature is disabled."
        case .mailNotConfigured: "This needs mail, which is not set up."
        case .mailNotSent: "The mail could not be sent."
        case .rateLimited: "Too many requests. Wait a little."
        case .lockedOut: "Too many failed attempts. Wait before the next one."
        case .unexpected: "Something went wrong on the server. It has been logged under this request id."
        case .overloaded: "The server is busy. Try again in a moment."
        case .unavailable: "The database can't be reached. Try again in a moment."
        }
    }
}

extension AuthError {
    /// What is wrong with each field, for people.
    var sentence: String {
        details.sorted { $0.key < $1.key }.map { "The \($0.key) \($0.value)." }.joined(separator: " ")
    }

    static func disabled(_ feature: Feature) -> AuthError {
        AuthError(
            .featureDisabled,
            "\(feature.title) is disabled. An admin can enable it by the setting \(feature.key)."
        )
    }

    /// Guests have no password: one comes with their promotion.
    static func guestPassword(_ field: String) -> AuthError {
        validation([field: "can't be set for a guest: promote makes it a real account"])
    }

    /// Fields that one answer names; a body can bring a thousand wrong ones.
    static let problemsToldMax = 20

    /// 422 with one message a field, of the first ``problemsToldMax`` in alphabetical order.
    static func validation(_ details: [String: String]) -> AuthError {
        guard details.count > problemsToldMax else { return AuthError(.validationFailed, details: details) }
        let told = details.sorted { $0.key < $1.key }.prefix(problemsToldMax)
        return AuthError(
            .validationFailed,
            "validation failed: \(details.count) problems, of which the first \(problemsToldMax) are named",
            details: Dictionary(uniqueKeysWithValues: told.map { ($0.key, $0.value) })
        )
    }
}
