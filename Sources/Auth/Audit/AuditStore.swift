import OrderedCollections
import Storage

enum AuditOutcome: String, Sendable, SQLConvertible {
    case success
    case failure
}

extension Transaction {
    /// Appends one row.
    ///
    /// `details` must hold no secret, and nothing that somebody typed into a sign-in form: it may be a password in the
    /// wrong field.
    func audit(
        _ event: AuditEvent,
        by actor: Actor,
        on subject: UserID? = nil,
        outcome: AuditOutcome = .success,
        details: JSON = [:],
        _ services: Services
    ) throws {
        let now = services.clock.now()
        let details = actor.apiKey.map { details.merging(["api_key": .string($0.rawValue)]) } ?? details
        let id = Identifier<AuditEvent>(at: now, random: services.random)
        try execute(
            """
            INSERT INTO audit_log
                (id, at, action, actor_id, subject_id, auth_impersonated_by, ip, user_agent, outcome, details)
            VALUES (\(id), \(now), \(event.rawValue), \(actor.id), \(subject), \(actor.impersonatedBy),
                \(actor.client.address), \(actor.client.userAgent), \(outcome), \(details.serialized))
            """
        )
    }
}
