import Storage

extension Transaction {
    func lockedUntil(_ key: Digest) throws -> Timestamp? {
        try one("SELECT locked_until FROM lockouts WHERE key = \(key)")?.get("locked_until")
    }

    /// Counts one; failures older than the lock's duration are forgotten.
    ///
    /// True when this one has locked it.
    func countFailure(_ key: Digest, max: Int, lockSeconds: Int, at now: Timestamp) throws -> Bool {
        let forgotten = now.advanced(bySeconds: -lockSeconds)
        let failures: Int =
            try one(
                """
                INSERT INTO lockouts (key, failures, last_failed_at, locked_until, removal_day)
                VALUES (\(key), 1, \(now), 0, \(now.day + 2))
                ON CONFLICT (key) DO UPDATE SET
                    failures = CASE WHEN lockouts.last_failed_at < \(forgotten) THEN 1 ELSE lockouts.failures + 1 END,
                    last_failed_at = excluded.last_failed_at, removal_day = excluded.removal_day
                RETURNING failures
                """
            )?.get("failures") ?? 0
        guard failures >= max else { return false }
        try execute(
            "UPDATE lockouts SET failures = 0, locked_until = \(now.advanced(bySeconds: lockSeconds)) WHERE key = \(key)"
        )
        return true
    }

    func forgetFailures(_ key: Digest) throws {
        try execute("DELETE FROM lockouts WHERE key = \(key)")
    }

    func shortenLock(_ key: Digest, until time: Timestamp) throws {
        try execute("UPDATE lockouts SET locked_until = \(time) WHERE key = \(key) AND locked_until > \(time)")
    }

    /// Removes what neither locks nor counts any more, up to `count`, and tells how many.
    ///
    /// A lock lasts a day at most; one that was made by a clock that was ahead keeps nobody out either.
    func sweepLockouts(before day: Int64, count: Int) throws -> Int {
        try execute(
            """
            DELETE FROM lockouts WHERE key IN (
                SELECT key FROM lockouts WHERE removal_day < \(day) ORDER BY removal_day LIMIT \(count)
            )
            """
        )
    }
}
