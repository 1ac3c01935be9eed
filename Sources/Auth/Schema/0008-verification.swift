import Storage

extension Schema {
    /// Since when an email is verified, and which API keys were made by an API key.
    ///
    /// Whatever was set up before the owner of an address showed themselves may be somebody else's. Null in `email_verified_at`
    /// with a verified email: it was so from the start.
    static let verification = Migration(
        8,
        "verification",
        """
        ALTER TABLE users ADD COLUMN email_verified_at {int}

        ALTER TABLE secrets ADD COLUMN issued_by TEXT
        """
    )
}
