import Storage

extension Transaction {
    /// Guests whose last session ended before `time`, the oldest first, up to `count`.
    ///
    /// Ended sessions must not have been swept before that.
    func abandonedGuests(before time: Timestamp, count: Int) throws -> [UserID] {
        try all(
            """
            SELECT id FROM users
            WHERE anonymous = TRUE AND created_at < \(time) AND NOT EXISTS (
                SELECT 1 FROM sessions WHERE sessions.user_id = users.id AND sessions.expires_at > \(time)
            )
            ORDER BY created_at LIMIT \(count)
            """
        ).map { try $0.get("id") }
    }
}
