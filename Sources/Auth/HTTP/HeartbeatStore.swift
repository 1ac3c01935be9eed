import Storage

extension Transaction {
    /// Rows of processes that have ended are kept for so long.
    private static let heartbeatsKeptSeconds = 86_400

    /// Shows that the process can write.
    func putHeartbeat(of node: String, at now: Timestamp) throws {
        let beaten = try execute("UPDATE heartbeats SET beat_at = \(now) WHERE node = \(node)")
        guard beaten == 0 else { return }
        try execute("INSERT INTO heartbeats (node, beat_at) VALUES (\(node), \(now))")
        try execute("DELETE FROM heartbeats WHERE beat_at < \(now.advanced(bySeconds: -Self.heartbeatsKeptSeconds))")
    }

    /// Shows that the process can read.
    func checkRead() throws {
        _ = try one("SELECT 1 AS one")
    }
}
