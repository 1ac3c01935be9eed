import Storage

extension Schema {
    /// The chain of the audit log: what shows that a row was altered, added, removed or moved.
    ///
    /// `mac` is written with the row; `position` and `link` follow within about a second, on the node that has the lease, for
    /// a chain that every transaction had to continue would let only one of them run at a time.
    static let audit = Migration(
        7,
        "audit",
        """
        ALTER TABLE audit_log ADD COLUMN mac {blob}

        ALTER TABLE audit_log ADD COLUMN position {int}

        ALTER TABLE audit_log ADD COLUMN link {blob}

        CREATE UNIQUE INDEX audit_log_position ON audit_log (position) WHERE position IS NOT NULL

        CREATE INDEX audit_log_unlinked ON audit_log (sequence) WHERE position IS NULL
        """
    )
}
