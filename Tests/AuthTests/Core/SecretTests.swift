import Testing

@testable import Auth

struct SecretTests {
    private static let text = "hunter2-correct-horse"
    private let secret = Secret(Self.text)

    private struct Holder {
        let name = "holder"
        let secret: Secret<String>
        let maybe: Secret<String>?
        let list: [Secret<String>]
        let byName: [String: Secret<String>]
    }

    private enum Outcome {
        case issued(Secret<String>, at: Int)
    }

    /// Everything that Swift makes of a value when it is printed.
    private func prints<Subject>(of subject: Subject) -> [String] {
        var dumped = ""
        dump(subject, to: &dumped)
        var printed = ""
        print(subject, to: &printed)
        var debugged = ""
        debugPrint(subject, to: &debugged)
        return ["\(subject)", String(describing: subject), String(reflecting: subject), dumped, printed, debugged]
    }

    @Test func `a secret shows nothing of itself, however it is printed`() {
        for printed in prints(of: secret) {
            #expect(!printed.contains("hunter2"))
            #expect(printed.contains("‹secret›"))
        }
        #expect(secret.description == "‹secret›")
        #expect(secret.debugDescription == "‹secret›")
    }

    @Test func `nor does what holds it`() {
        let holder = Holder(secret: secret, maybe: secret, list: [secret, secret], byName: ["token": secret])
        let outcome = Outcome.issued(secret, at: 5)
        let result: Result<Secret<String>, AuthError> = .success(secret)
        let printed =
            prints(of: holder) + prints(of: outcome) + prints(of: result) + prints(of: [holder])
            + prints(of: (secret, 1))
        for text in printed + prints(of: secret as Any) + prints(of: Secret?.some(secret)) {
            #expect(!text.contains("hunter2"))
        }
    }

    @Test func `nor does an error that carries it`() {
        struct Failure: Error {
            let secret: Secret<String>
        }
        let error = AuthError(.unexpected, cause: Failure(secret: secret))
        for text in prints(of: error) { #expect(!text.contains("hunter2")) }
    }

    @Test func `nor do the bytes of a key`() {
        let key = Secret(Array(Self.text.utf8))
        for text in prints(of: key) + prints(of: [key]) {
            #expect(!text.contains("104"))
            #expect(!text.contains("hunter2"))
        }
    }

    @Test func `a mirror finds no child, and no child's child`() {
        #expect(Mirror(reflecting: secret).children.isEmpty)
        #expect(Mirror(reflecting: secret).descendant("value") == nil)
        let holder = Holder(secret: secret, maybe: secret, list: [secret], byName: ["a": secret])
        #expect(Mirror(reflecting: holder).descendant("secret", "value") == nil)
        #expect(Mirror(reflecting: holder).descendant("maybe", "some", "value") == nil)
        #expect(Mirror(reflecting: holder).descendant("list", 0, "value") == nil)
    }

    @Test func `it gives the value to whoever asks for it by name`() {
        #expect(secret.reveal() == Self.text)
        #expect(Secret([UInt8](0...9)).reveal() == Array(0...9))
    }
}
