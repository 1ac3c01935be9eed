import Storage

/// Which rows of the audit log are asked for.
struct AuditFilter: Sendable {
    /// Also as the admin behind an impersonation.
    var actor: UserID?
    var subject: UserID?
    var action: AuditEvent?
    /// Included.
    var from: Timestamp?
    /// Not included.
    var to: Timestamp?

    /// Those rows, the newest first.
    ///
    /// Only what is asked for is a condition, so that each question finds its index.
    var list: ListQuery {
        var conditions: [SQL] = []
        if let subject { conditions.append("subject_id = \(subject)") }
        if let action { conditions.append("action = \(action.rawValue)") }
        var alternatives = [conditions]
        if let actor {
            alternatives = [
                ["actor_id = \(actor)"] + conditions,
                ["auth_impersonated_by = \(actor)", "(actor_id IS NULL OR actor_id <> \(actor))"] + conditions,
            ]
        }
        let parts = [
            actor?.rawValue, subject?.rawValue, action?.rawValue, from.map { String($0.milliseconds) },
            to.map { String($0.milliseconds) },
        ]
        return ListQuery(
            name: "audit:" + parts.map { $0 ?? "" }.joined(separator: ":"),
            table: "audit_log",
            alternatives: alternatives.map { $0.isEmpty ? "TRUE" : SQL.join($0, by: " AND ") },
            order: ["at", "sequence"],
            isDescending: true,
            origin: to.map { [.integer($0.milliseconds), .integer(.min)] },
            end: from.map { "at >= \($0)" } ?? "TRUE"
        ) { row in [.integer(try row.get("at")), .integer(try row.get("sequence"))] }
    }
}
