import Storage

extension Schema {
    /// What keeps the database from growing without bound: days of removal, budgets of audit rows, closed segments of the
    /// audit log, and jobs that work through a whole collection in small steps.
    ///
    /// `removal_day` counts days since 1970, and is indexed in place of a time: on PostgreSQL an update that leaves every
    /// indexed column as it is stays in place, and a session is refreshed far more often than once a day. `generation` lets one
    /// row of `session_generations` end all sessions there are.
    static let growth = Migration(
        10,
        "growth",
        """
        ALTER TABLE sessions ADD COLUMN removal_day {int} NOT NULL DEFAULT 0

        UPDATE sessions SET removal_day = coalesce(ended_at, expires_at) / 86400000 + 31

        CREATE INDEX sessions_by_removal ON sessions (removal_day)

        DROP INDEX users_guests

        CREATE INDEX users_guests ON users (created_at, id) WHERE anonymous = TRUE

        CREATE INDEX sessions_of_guests ON sessions (user_id) WHERE kind = 'anonymous'

        ALTER TABLE sessions ADD COLUMN generation {int} NOT NULL DEFAULT 0

        CREATE TABLE session_generations (
            generation {int} NOT NULL PRIMARY KEY,
            began_at {int} NOT NULL,
            end_reason TEXT NOT NULL
        ){strict}

        ALTER TABLE lockouts ADD COLUMN removal_day {int} NOT NULL DEFAULT 0

        UPDATE lockouts SET removal_day = last_failed_at / 86400000 + 2

        CREATE INDEX lockouts_by_removal ON lockouts (removal_day)

        CREATE INDEX secrets_by_expiry ON secrets (expires_at) WHERE expires_at IS NOT NULL

        CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at)

        CREATE INDEX outbox_settled ON outbox (settled_at) WHERE settled_at IS NOT NULL

        CREATE INDEX outbox_inbox ON outbox (expires_at) WHERE state = 'inbox'

        ALTER TABLE collections ADD COLUMN state TEXT NOT NULL DEFAULT 'ready'

        CREATE TABLE jobs (
            id TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            collection_id TEXT NOT NULL,
            payload TEXT NOT NULL,
            place TEXT,
            done {int} NOT NULL,
            created_at {int} NOT NULL
        ){strict}

        CREATE TABLE audit_budgets (
            key {blob} NOT NULL PRIMARY KEY,
            hour {int} NOT NULL,
            events {int} NOT NULL,
            withheld {int} NOT NULL,
            action TEXT NOT NULL,
            subject_id TEXT,
            ip TEXT
        ){strict}

        CREATE INDEX audit_budgets_by_hour ON audit_budgets (hour)

        {postgres}ALTER TABLE audit_budgets SET (fillfactor = 70)

        CREATE TABLE audit_segments (
            number {int} NOT NULL PRIMARY KEY,
            first_position {int} NOT NULL,
            last_position {int} NOT NULL,
            former_link {blob},
            last_link {blob} NOT NULL,
            row_digest {blob} NOT NULL,
            closed_at {int} NOT NULL,
            signing_key {blob} NOT NULL,
            signature {blob} NOT NULL
        ){strict}
        """
    )
}
