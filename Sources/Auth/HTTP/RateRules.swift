/// How many requests an address may send: `auth=10/3 probe=1000/10 *=300/10` is 10 in 3 s to the routes that take
/// credentials, 1000 in 10 s to those that cost next to nothing, and 300 in 10 s to the rest.
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
        /// Costs next to nothing: readiness, and browsers' preflight requests.
        case probe
        /// Costs nothing: it reads no body and asks nothing.
        case unlimited
    }

    let auth: Rule
    let general: Rule
    let probe: Rule

    static let standard = RateRules(
        auth: Rule(count: 10, seconds: 3),
        general: Rule(count: 300, seconds: 10),
        probe: Rule(count: 1000, seconds: 10)
    )

    private init(auth: Rule, general: Rule, probe: Rule) {
        self.auth = auth
        self.general = general
        self.probe = probe
    }

    /// A label that isn't named keeps its standard rule.
    ///
    /// Nil when a part can't be read.
    init?(parsing text: String) {
        var (auth, general, probe) = (Self.standard.auth, Self.standard.general, Self.standard.probe)
        for part in text.split(whereSeparator: { $0 == " " || $0 == "," }) {
            guard let match = part.wholeMatch(of: /(auth|probe|\*)=(\d{1,6})\/(\d{1,5})/), let count = Int(match.2),
                let seconds = Int(match.3),
                count > 0, seconds > 0
            else { return nil }
            let rule = Rule(count: count, seconds: seconds)
            switch match.1 {
            case "auth": auth = rule
            case "probe": probe = rule
            default: general = rule
            }
        }
        self.init(auth: auth, general: general, probe: probe)
    }

    /// As ``init(parsing:)`` reads it; without the rule for probes while that is the standard one.
    var text: String {
        func part(_ label: Label, _ rule: Rule) -> String { "\(label.rawValue)=\(rule.count)/\(rule.seconds)" }
        let probes = probe == Self.standard.probe ? [] : [part(.probe, probe)]
        return ([part(.auth, auth)] + probes + [part(.general, general)]).joined(separator: " ")
    }

    func rule(for label: Label) -> Rule? {
        switch label {
        case .auth: auth
        case .general: general
        case .probe: probe
        case .unlimited: nil
        }
    }
}
