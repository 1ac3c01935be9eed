import Storage

extension Transaction {
    /// Whether there is room for a row of `event`; where there is none, it is counted as withheld.
    ///
    /// The first one that is withheld within an hour is told at once.
    func admitAuditRow(
        _ event: AuditEvent,
        by actor: Actor,
        on subject: UserID?,
        at now: Timestamp,
        _ services: Services
    ) throws -> Bool {
        for share in AuditBudget.shares(of: event, by: actor, on: subject) {
            let count = try countAuditRow(event, share, at: now)
            if count <= share.rowsMax { continue }
            if count == share.rowsMax + 1 {
                try audit(
                    .budgetReached,
                    by: Actor(id: nil, client: share.client),
                    on: share.subject,
                    outcome: .failure,
                    details: ["event": .string(event.rawValue), "rows_per_hour": .integer(Int64(share.rowsMax))],
                    services
                )
            }
            return false
        }
        return true
    }

    /// The number of the row within its hour.
    private func countAuditRow(_ event: AuditEvent, _ share: AuditBudget.Share, at now: Timestamp) throws -> Int {
        let hour = now.hour
        return try one(
            """
            INSERT INTO audit_budgets (key, hour, events, withheld, action, subject_id, ip)
            VALUES (\(share.key), \(hour), 1, 0, \(event.rawValue), \(share.subject), \(share.address))
            ON CONFLICT (key) DO UPDATE SET
                events = CASE WHEN audit_budgets.hour = excluded.hour THEN audit_budgets.events + 1 ELSE 1 END,
                withheld = CASE WHEN audit_budgets.hour = excluded.hour AND audit_budgets.events >= \(share.rowsMax)
                    THEN audit_budgets.withheld + 1 ELSE audit_budgets.withheld END,
                hour = excluded.hour
            RETURNING events
            """
        )?.get("events") ?? 1
    }

    /// Removes budgets of hours that are over, up to `count`, tells what they withheld, and tells how many it removed.
    func settleAuditBudgets(before hour: Int64, count: Int, _ services: Services) throws -> Int {
        let rows = try all(
            """
            DELETE FROM audit_budgets WHERE key IN (
                SELECT key FROM audit_budgets WHERE hour < \(hour) ORDER BY hour LIMIT \(count)
            )
            RETURNING action, withheld, hour, subject_id, ip
            """
        )
        for row in rows {
            let withheld: Int64 = try row.get("withheld")
            guard withheld > 0 else { continue }
            let address: String? = try row.get("ip")
            let last = Timestamp(hour: try row.get("hour"))
            try audit(
                .rowsWithheld,
                by: Actor(id: nil, client: address.map { Client(address: $0, userAgent: nil) } ?? .server),
                on: try row.get("subject_id"),
                outcome: .failure,
                details: [
                    "event": .string(try row.get("action")), "count": .integer(withheld),
                    "hour": .string(last.rfc3339),
                ],
                services
            )
        }
        return rows.count
    }
}

extension AuditBudget.Share {
    /// The address that is shown by the row about a spent budget.
    fileprivate var client: Client { address.map { Client(address: $0, userAgent: nil) } ?? .server }
}

extension Timestamp {
    private static let hourMilliseconds: Int64 = 3_600_000
    private static let dayMilliseconds: Int64 = 86_400_000

    /// Whole hours since 1970.
    var hour: Int64 { milliseconds / Self.hourMilliseconds }

    /// The beginning of an hour counted from 1970.
    init(hour: Int64) {
        self.init(milliseconds: hour * Self.hourMilliseconds)
    }

    /// Whole days since 1970.
    var day: Int64 { milliseconds / Self.dayMilliseconds }
}
