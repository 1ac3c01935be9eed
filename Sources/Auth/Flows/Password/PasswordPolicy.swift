/// What a new password must be: NIST SP 800-63B's length and blocklist, no composition rules.
struct PasswordPolicy: Sendable {
    /// Characters; longer ones are refused before anything is hashed.
    static let countMax = 256
    /// Bytes, which are looked at first: counting the characters of a hostile megabyte is work too.
    static let bytesMax = countMax * 4
    static let tooLong = "must be at most \(countMax) characters"

    /// Characters.
    let countMin: Int
    let refusesCommon: Bool

    init(_ settings: Settings) {
        countMin = settings.count("password.min_length")
        refusesCommon = settings.isOn("password.blocklist")
    }

    /// What is wrong with the password, as a phrase that follows its field's name; nil when nothing is.
    func problem(with password: String, email: String?) -> String? {
        guard password.utf8.count <= Self.bytesMax, password.count <= Self.countMax else { return Self.tooLong }
        guard password.count >= countMin else { return "must be at least \(countMin) characters" }
        guard refusesCommon else { return nil }
        let folded = password.lowercased()
        if let email, email.utf8.count <= EmailAddress.rawBytesMax, case let email = email.lowercased(),
            folded == email || email.split(separator: "@").first.map({ folded == $0 }) == true
        {
            return "must not be your email"
        }
        return Self.common.contains(folded) ? "is one of the most common passwords; choose another" : nil
    }

    /// About 3,000 texts, split on first use.
    private static let common = Set(
        CommonPasswords.list.description.split(whereSeparator: \.isWhitespace).map(String.init)
    )
}
