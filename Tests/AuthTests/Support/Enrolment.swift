import Testing

@testable import Auth

/// Somebody with a second factor.
struct Enrolment: Sendable {
    let token: String
    let totp: TOTP
    /// The recovery codes.
    let codes: [String]
}

extension TestServer {
    /// Sets up a second factor and confirms it; the clock goes on, since the step of the confirmation is spent.
    func enrol(_ token: String, in collection: String = "users") async throws -> Enrolment {
        let setUp = try await post("/api/auth/\(collection)/totp/setup", token: token).data()
        let totp = try #require(TOTP(secret: setUp["secret"]?.text ?? ""))
        let confirmed = try await post("/api/auth/\(collection)/totp/confirm", code(of: totp), token: token).data()
        guard case .array(let codes)? = confirmed["codes"] else { throw Reply.Unexpected(description: "no codes") }
        clock.advance(seconds: Int(TOTP.stepSeconds))
        return Enrolment(token: token, totp: totp, codes: codes.compactMap(\.text))
    }

    /// Ada, who has just signed up.
    func enrolled() async throws -> Enrolment { try await enrol(try await signedUp("ada@example.org")) }

    /// What her password gives.
    func ticket() async throws -> JSON {
        let credentials: JSON = ["email": "ada@example.org", "password": .string(TestServer.password)]
        return try await post("/api/auth/users/login", credentials).data()["mfa_token"] ?? .null
    }

    /// As a body: the code of now, or of so many steps later.
    func code(of totp: TOTP, steps: Int64 = 0) -> JSON {
        ["code": .string(totp.code(at: TOTP.step(at: clock.now) + steps))]
    }
}
