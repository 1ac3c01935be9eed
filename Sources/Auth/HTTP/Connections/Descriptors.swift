import Foundation

/// The file descriptors of the process (`ulimit -n`).
enum Descriptors {
    /// The lowest limit that the server starts with.
    static let min = 128
    /// Kept free for the database, the log, mails, requests to providers and whatever a library opens.
    static let reserve = 64
    /// More would only cost the kernel.
    static let wanted = 65_536

    /// Raises the soft limit as far as the hard one allows, up to ``wanted``, and tells what it is then.
    static func raise() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return wanted }
        let raised = Swift.min(limit.rlim_max, rlim_t(wanted))
        if limit.rlim_cur < raised {
            let former = limit.rlim_cur
            limit.rlim_cur = raised
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 { limit.rlim_cur = former }
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// How many connections may be open beside `others` descriptors of the database.
    ///
    /// Throws ``Installation/Unusable`` when the limit leaves no place for them.
    static func connectionsMax(_ limit: Int, others: Int) throws -> Int {
        let least = Swift.max(min, 2 * reserve + others)
        guard limit >= least else {
            throw Installation.Unusable(
                description:
                    "This process may open \(limit) files and connections, and needs at least \(least). Raise the limit: `ulimit -n 4096` in the shell, or `LimitNOFILE=` in the systemd unit."
            )
        }
        return limit - reserve - others
    }
}
