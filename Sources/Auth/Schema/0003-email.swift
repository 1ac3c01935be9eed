import Storage

extension Schema {
    /// The outbox, codes beside one-time tokens, and emails that wait for confirmation.
    ///
    /// A token's `slot` holds its purpose and subject where there may be only one; set-up tokens, the only ones so far, are
    /// made anew by the next start. On PostgreSQL, foreign keys to users
    /// go: to check one reads the index page that every registration writes, which a serializable transaction takes for a
    /// conflict. Whoever removes a user removes what was theirs (``Transaction/deleteUser(_:at:)``).
    static let email = Migration(
        3,
        "email",
        """
        ALTER TABLE users ADD COLUMN pending_email TEXT

        DELETE FROM one_time_tokens

        ALTER TABLE one_time_tokens ADD COLUMN slot TEXT

        ALTER TABLE one_time_tokens ADD COLUMN code {blob}

        ALTER TABLE one_time_tokens ADD COLUMN misses {int} NOT NULL DEFAULT 0

        ALTER TABLE one_time_tokens ADD COLUMN payload TEXT

        CREATE UNIQUE INDEX one_time_tokens_slot ON one_time_tokens (slot)

        CREATE TABLE outbox (
            id TEXT NOT NULL PRIMARY KEY,
            state TEXT NOT NULL,
            template TEXT NOT NULL,
            collection TEXT NOT NULL,
            user_id TEXT,
            recipient TEXT NOT NULL,
            content TEXT,
            attempts {int} NOT NULL,
            refusals {int} NOT NULL,
            next_attempt_at {int} NOT NULL,
            last_error TEXT,
            created_at {int} NOT NULL,
            expires_at {int} NOT NULL,
            settled_at {int}
        ){strict}

        CREATE INDEX outbox_due ON outbox (next_attempt_at) WHERE state IN ('pending', 'sending', 'void')

        CREATE INDEX outbox_by_user ON outbox (user_id, created_at)

        {postgres}ALTER TABLE outbox SET (fillfactor = 70)

        {postgres}ALTER TABLE one_time_tokens SET (fillfactor = 70)

        {postgres}ALTER TABLE secrets DROP CONSTRAINT secrets_user_id_fkey

        {postgres}ALTER TABLE unique_values DROP CONSTRAINT unique_values_user_id_fkey

        {postgres}ALTER TABLE one_time_tokens DROP CONSTRAINT one_time_tokens_subject_id_fkey
        """
    )
}
