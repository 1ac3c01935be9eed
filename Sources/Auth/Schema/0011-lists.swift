import Storage

extension Schema {
    /// Indexes that lists are read by, in their order, and the row by which a process shows that it can write.
    static let lists = Migration(
        11,
        "lists",
        """
        DROP INDEX audit_log_by_time

        CREATE INDEX audit_log_by_time ON audit_log (at, sequence)

        CREATE INDEX audit_log_by_action ON audit_log (action, at, sequence)

        CREATE INDEX audit_log_by_actor ON audit_log (actor_id, at, sequence) WHERE actor_id IS NOT NULL

        CREATE INDEX audit_log_by_subject ON audit_log (subject_id, at, sequence) WHERE subject_id IS NOT NULL

        CREATE INDEX audit_log_by_impersonator ON audit_log (auth_impersonated_by, at, sequence)
            WHERE auth_impersonated_by IS NOT NULL

        CREATE INDEX outbox_by_state ON outbox (state, id)

        CREATE TABLE heartbeats (
            node TEXT NOT NULL PRIMARY KEY,
            beat_at {int} NOT NULL
        ){strict}
        """
    )
}
