import Storage

/// Who has a lease, and how often it was renewed.
struct LeaseState: Sendable, Equatable {
    let holder: String
    let beat: Int64
}

extension Transaction {
    func lease(_ name: String) throws -> LeaseState? {
        try one("SELECT holder, beat FROM leases WHERE name = \(name)").map { row in
            LeaseState(holder: try row.get("holder"), beat: try row.get("beat"))
        }
    }

    /// False when somebody else has it, or nobody.
    func renewLease(_ name: String, of holder: String) throws -> Bool {
        try execute("UPDATE leases SET beat = beat + 1 WHERE name = \(name) AND holder = \(holder)") == 1
    }

    /// Takes a lease that nobody has, or the one last seen as `seen`; false when somebody was faster.
    func takeLease(_ name: String, for holder: String, from seen: LeaseState?) throws -> Bool {
        guard let seen else {
            return try execute(
                "INSERT INTO leases (name, holder, beat) VALUES (\(name), \(holder), 0) ON CONFLICT (name) DO NOTHING"
            ) == 1
        }
        return try execute(
            """
            UPDATE leases SET holder = \(holder), beat = beat + 1
            WHERE name = \(name) AND holder = \(seen.holder) AND beat = \(seen.beat)
            """
        ) == 1
    }

    func giveLeaseBack(_ name: String, of holder: String) throws {
        try execute("DELETE FROM leases WHERE name = \(name) AND holder = \(holder)")
    }
}
