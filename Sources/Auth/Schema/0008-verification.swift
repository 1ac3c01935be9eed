import Storage

extension Schema {
    /// Since when an email is verified, which API keys were made by an API key, and how many notices went out.
    ///
    /// Whatever was set up before the owner of an address showed themselves may be somebody else's. Null in `email_verified_at`
    /// with a verified email: it was so from the start. Notices are counted in the account's own row: to count the mails would read
    /// index pages that every mail writes.
    static let verification = Migration(
        8,
        "verification",
        """
        ALTER TABLE users ADD COLUMN email_verified_at {int}

        ALTER TABLE users ADD COLUMN notices_since {int}

        ALTER TABLE users ADD COLUMN notice_count {int} NOT NULL DEFAULT 0

        ALTER TABLE secrets ADD COLUMN issued_by TEXT
        """
    )
}
