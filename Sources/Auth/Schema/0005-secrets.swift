import Storage

extension Schema {
    /// API keys and device secrets, which are secrets like any other, and opaque access tokens.
    ///
    /// `lookup` is a keyed digest by which a secret is found that is Argon2id-hashed. `sessions.access_tokens` holds the
    /// digests of a session's opaque tokens, since these are views of it, `sessions.not_valid_after` the end that was asked for,
    /// which no refresh moves; `sessions.secret_id` names the device secret that began it, which ends it.
    static let secrets = Migration(
        5,
        "secrets",
        """
        ALTER TABLE secrets ADD COLUMN name TEXT

        ALTER TABLE secrets ADD COLUMN lookup {blob}

        ALTER TABLE secrets ADD COLUMN expires_at {int}

        ALTER TABLE secrets ADD COLUMN scopes TEXT

        ALTER TABLE secrets ADD COLUMN is_primary {bool} NOT NULL DEFAULT {false}

        CREATE UNIQUE INDEX secrets_lookup ON secrets (lookup)

        CREATE UNIQUE INDEX secrets_primary ON secrets (user_id) WHERE is_primary = TRUE

        ALTER TABLE sessions ADD COLUMN access_tokens TEXT

        ALTER TABLE sessions ADD COLUMN not_valid_after {int}

        ALTER TABLE sessions ADD COLUMN secret_id TEXT
        """
    )
}
