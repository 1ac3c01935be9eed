import Storage

extension Schema {
    /// What the nodes of a database share beside its accounts: the secret that signs, and who does the background work.
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
        """
    )
}
