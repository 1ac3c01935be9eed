/// How many requests an address may send: `auth=10/3 *=300/10` is 10 in 3 s to the routes that take credentials, and
/// 300 in 10 s to the rest.
struct RateRules: Sendable, Equatable {
    struct Rule: Sendable, Equatable {
        let count: Int
        let seconds: Int
    }

    /// What a route counts as.
    enum Label: String, Sendable {
        /// Takes a credential: worth guessing at.
        case auth
        case general = "*"
        /// Health checks.
        case unlimited
    }

    let auth: Rule
    let general: Rule

    static let standard = RateRules(auth: Rule(count: 10, seconds: 3), general: Rule(count: 300, seconds: 10))

    private init(auth: Rule, general: Rule) {
        self.auth = auth
        self.general = general
    }

    /// A label that isn't named keeps its standard rule.
    ///
    /// Nil when a part can't be read.
    init?(parsing text: String) {
        var (auth, general) = (Self.standard.auth, Self.standard.general)
        for part in text.split(whereSeparator: { $0 == " " || $0 == "," }) {
            guard let match = part.wholeMatch(of: /(auth|\*)=(\d{1,6})\/(\d{1,5})/), let count = Int(match.2),
                let seconds = Int(match.3),
                count > 0, seconds > 0
            else { return nil }
            if match.1 == "auth" {
                auth = Rule(count: count, seconds: seconds)
            } else {
                general = Rule(count: count, seconds: seconds)
            }
        }
        self.init(auth: auth, general: general)
    }

    var text: String { "auth=\(auth.count)/\(auth.seconds) *=\(general.count)/\(general.seconds)" }

    func rule(for label: Label) -> Rule? {
        switch label {
        case .auth: auth
        case .general: general
        case .unlimited: nil
        }
    }
}
