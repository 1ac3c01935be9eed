import Storage

extension Schema {
    /// What the nodes of a database share beside its accounts: the secret that signs, and who does the background work.
    ///
    /// And room for PostgreSQL to update rows in place: an update that has to touch an index looks like a conflict to every
    /// serializable transaction that has read the same page of it. The index by expiry stood in the way of that, and served
    /// no statement.
    static let nodes = Migration(
        2,
        "nodes",
        """
        CREATE TABLE signing_secrets (
            fingerprint TEXT NOT NULL PRIMARY KEY,
            sealed TEXT,
            created_at {int} NOT NULL,
            replaced_at {int}
        ){strict}

        CREATE TABLE leases (
            name TEXT NOT NULL PRIMARY KEY,
            holder TEXT NOT NULL,
            beat {int} NOT NULL
        ){strict}

        DROP INDEX sessions_by_expiry

        {postgres}ALTER TABLE users SET (fillfactor = 70)

        {postgres}ALTER TABLE sessions SET (fillfactor = 70)

        {postgres}ALTER TABLE lockouts SET (fillfactor = 70)

        {postgres}ALTER TABLE secrets SET (fillfactor = 70)
        """
    )
}
