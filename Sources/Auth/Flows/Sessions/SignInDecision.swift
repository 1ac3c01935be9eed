/// Whether a proof becomes a session: one pure function for every way to sign in.
struct SignInDecision: Sendable, Equatable {
    enum Verdict: Sendable, Equatable {
        case begin(Session.Kind)
        /// The proof is good as far as it goes: a second factor is needed.
        case askSecondFactor
        case refuse(AuthError.Code)
    }

    /// What is known about the account when the session would start.
    struct Facts: Sendable {
        /// Nil when the account is gone.
        let user: User?
        let isAdminsCollection: Bool
        /// False when the credential was changed or removed since it was verified.
        var isProofCurrent = true
    }

    let verdict: Verdict
    /// The rules that were looked at, for the audit log.
    let trace: [String]

    init(_ proof: Proof, _ facts: Facts) {
        var trace: [String] = []
        func refuse(_ rule: String) -> SignInDecision {
            SignInDecision(verdict: .refuse(.invalidCredentials), trace: trace + [rule])
        }
        guard let user = facts.user else {
            self = refuse("account:gone")
            return
        }
        trace.append("account:present")
        guard facts.isProofCurrent else {
            self = refuse("proof:stale")
            return
        }
        trace.append("proof:current")
        guard user.status == .active else {
            self = refuse("status:\(user.status.rawValue)")
            return
        }
        trace.append("status:active")
        guard user.kind == .human else {
            self = refuse("kind:system")
            return
        }
        trace.append("kind:human")
        if user.isMFAEnabled {
            guard proof.methods.contains(where: \.isSufficient) else {
                self = SignInDecision(verdict: .askSecondFactor, trace: trace + ["second-factor:missing"])
                return
            }
            trace.append("second-factor:present")
        }
        let kind: Session.Kind = facts.isAdminsCollection ? .admin : user.isAnonymous ? .anonymous : .user
        self = SignInDecision(verdict: .begin(kind), trace: trace)
    }

    private init(verdict: Verdict, trace: [String]) {
        self.verdict = verdict
        self.trace = trace
    }
}
