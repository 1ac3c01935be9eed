import Storage

extension Transaction {
    /// Stores a new session; when the account has as many as it may, the oldest ones end, and the audit log says so.
    ///
    /// Impersonations are counted apart: an admin's support never ends the user's own sessions.
    func openSession(_ session: Session, _ settings: Settings, by actor: Actor, _ services: Services) throws {
        let max = settings.count(Session.liveMaxKey)
        let ended = try endOldestSessions(
            of: session.userID,
            keeping: max - 1,
            areImpersonations: session.impersonation != nil,
            at: services.clock.now()
        )
        try insertSession(session)
        guard let first = ended.first else { return }
        let details: AuditDetails = [
            "reason": .string(Session.EndReason.revoked.rawValue), "max": .integer(Int64(max)),
        ]
        if ended.count == 1 {
            let one = details.with("session", .string(first.rawValue))
            try audit(.sessionEnded, by: actor, on: session.userID, details: one, services)
        } else {
            let all = details.with("count", .integer(Int64(ended.count)))
            try audit(.sessionsEnded, by: actor, on: session.userID, details: all, services)
        }
    }
}

extension Session {
    /// The setting of how many live sessions an account may have.
    static let liveMaxKey = "auth.session.live_max"
}
