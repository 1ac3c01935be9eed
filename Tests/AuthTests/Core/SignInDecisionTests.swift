import OrderedCollections
import Testing

@testable import Auth

struct SignInDecisionTests {
    private static let time = Timestamp(seconds: 1_700_000_000)
    private static let id = UserID(at: time, random: Random { Array(repeating: 1, count: $0) })

    private func decide(_ user: User?, isAdmins: Bool) -> SignInDecision {
        let proof = Proof(subject: Self.id, methods: [.password], at: Self.time) { _ in true }
        return SignInDecision(proof, SignInDecision.Facts(user: user, isAdminsCollection: isAdmins))
    }

    private func user(_ kind: User.Kind, _ status: User.Status) -> User {
        User(
            id: Self.id,
            collectionID: CollectionID(at: Self.time, random: Random { Array(repeating: 2, count: $0) }),
            kind: kind,
            status: status,
            email: "ada@example.org",
            username: nil,
            isEmailVerified: false,
            isAnonymous: false,
            data: [:],
            createdAt: Self.time,
            updatedAt: Self.time,
            lastLoginAt: nil
        )
    }

    @Test(
        arguments: [
            (.human, .active, ["account:present", "proof:current", "status:active", "kind:human"]),
            (.human, .pending, ["account:present", "proof:current", "status:pending"]),
            (.human, .suspended, ["account:present", "proof:current", "status:suspended"]),
            (.system, .active, ["account:present", "proof:current", "status:active", "kind:system"]),
            (.system, .pending, ["account:present", "proof:current", "status:pending"]),
            (.system, .suspended, ["account:present", "proof:current", "status:suspended"]),
        ] as [(User.Kind, User.Status, [String])]
    )
    func `only a person whose account is active gets in`(_ kind: User.Kind, _ status: User.Status, _ trace: [String]) {
        for isAdmins in [true, false] {
            let decision = decide(user(kind, status), isAdmins: isAdmins)
            let isLetIn = kind == .human && status == .active
            #expect(decision.verdict == (isLetIn ? .begin(isAdmins ? .admin : .user) : .refuse(.invalidCredentials)))
            #expect(decision.trace == trace)
        }
    }

    @Test func `an account that is gone is refused like a wrong password`() {
        for isAdmins in [true, false] {
            let decision = decide(nil, isAdmins: isAdmins)
            #expect(decision.verdict == .refuse(.invalidCredentials))
            #expect(decision.trace == ["account:gone"])
        }
    }

    @Test func `the table has a line for every kind and status`() {
        #expect(User.Kind.allCases.count * User.Status.allCases.count == 6)
    }
}
