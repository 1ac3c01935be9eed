import Storage

/// Where a walk over the guests stands, the oldest first.
struct GuestPlace: Sendable {
    let createdAt: Timestamp
    let id: String

    static let start = GuestPlace(createdAt: Timestamp(milliseconds: 0), id: "")
}

extension Transaction {
    /// The next guests who were made before `time`, the oldest first, up to `count`, and whether their last session ended
    /// before that time.
    ///
    /// Ended sessions must not have been swept before that.
    func guests(after place: GuestPlace, before time: Timestamp, count: Int) throws -> [(
        id: UserID, place: GuestPlace, isAbandoned: Bool
    )] {
        try all(
            """
            SELECT id, created_at, NOT EXISTS (
                SELECT 1 FROM sessions
                WHERE sessions.kind = 'anonymous' AND sessions.user_id = users.id AND sessions.expires_at > \(time)
            ) AS is_abandoned
            FROM users
            WHERE anonymous = TRUE AND created_at < \(time)
                AND (created_at, id) > (\(place.createdAt), \(place.id))
            ORDER BY created_at, id LIMIT \(count)
            """
        ).map { row in
            let id: UserID = try row.get("id")
            let place = GuestPlace(createdAt: try row.get("created_at"), id: id.rawValue)
            return (id, place, try row.get("is_abandoned"))
        }
    }
}
