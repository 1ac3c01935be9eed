import Storage

extension Schema {
    /// Guests, who are found when their time is over, and the admins behind impersonations.
    static let guests = Migration(
        6,
        "guests",
        """
        CREATE INDEX users_guests ON users (created_at) WHERE anonymous = TRUE

        ALTER TABLE sessions ADD COLUMN impersonated_by TEXT

        ALTER TABLE sessions ADD COLUMN impersonating_session TEXT
        """
    )
}
