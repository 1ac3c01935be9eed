import Storage

extension Schema {
    /// Second factors and recovery codes, which are secrets like any other.
    ///
    /// `users.mfa_enabled` repeats whether there is an active one, for every request and sign-in reads the user anyway.
    /// `sealed` holds a TOTP key, `last_step` the last time step that was accepted with it; `bucket` narrows the search for
    /// a recovery code to one hash in most cases.
    static let mfa = Migration(
        4,
        "mfa",
        """
        ALTER TABLE users ADD COLUMN mfa_enabled {bool} NOT NULL DEFAULT {false}

        ALTER TABLE secrets ADD COLUMN state TEXT

        ALTER TABLE secrets ADD COLUMN sealed TEXT

        ALTER TABLE secrets ADD COLUMN last_step {int}

        ALTER TABLE secrets ADD COLUMN bucket {int}

        CREATE UNIQUE INDEX secrets_mfa ON secrets (user_id) WHERE type = 'mfa'
        """
    )
}
