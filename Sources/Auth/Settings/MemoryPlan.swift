import Foundation

/// What the process may use its memory for: each part is a bound that something holds.
///
/// The plan bounds private memory (USS), not the pages of the binary and its libraries.
package struct MemoryPlan: Sendable, Equatable {
    static let megabyte = 1 << 20

    /// All of it, in bytes.
    let totalBytes: Int
    let hashingThreads: Int
    /// Entries of the users', sessions', tokens' and keys' caches together.
    let cacheBytes: Int
    /// Request bodies in memory (``BodyBudget``), before they are parsed.
    let bodyBytes: Int
    let connectionsMax: Int
    /// Lines of the request log that wait to be written, and those kept to be searched.
    let logBytes: Int

    /// Code and data of the process at rest, the database's page caches, its prepared statements.
    static let baseBytes = 48 * megabyte
    /// Work memory of one hash, with its thread.
    static let hashingThreadBytes = PasswordHash.memoryBytes + megabyte
    /// An idle connection, with the buffers that its last request leaves.
    static let connectionBytes = 16_384
    /// A parsed body is so many times its bytes.
    static let bodyFactor = 3
    /// Below, some part would be of no use.
    static let headroomBytesMin = 24 * megabyte
    static let headroomBytesDefault = 64 * megabyte

    /// The smallest plan: one hashing thread, and the least headroom.
    static let bytesMin = baseBytes + hashingThreadBytes + headroomBytesMin

    /// For a machine with so many cores and so much memory; `bytes` is what the operator allows, at least ``bytesMin``.
    ///
    /// There is a hashing thread for each core, or as many as fit.
    init(bytes: Int? = nil, cores: Int, machineBytes: Int) {
        func fixed(_ threads: Int) -> Int { Self.baseBytes + threads * Self.hashingThreadBytes }
        let wanted = fixed(cores) + Self.headroomBytesDefault
        totalBytes = max(bytes ?? min(wanted, machineBytes / 2), Self.bytesMin)
        hashingThreads = min(cores, (totalBytes - Self.baseBytes - Self.headroomBytesMin) / Self.hashingThreadBytes)
        let free = totalBytes - fixed(hashingThreads)
        cacheBytes = free / 4
        bodyBytes = free / 4 / Self.bodyFactor + Body.bytesMax
        connectionsMax = min(free / 4 / Self.connectionBytes, Self.connectionsCeiling)
        logBytes = free / 8
    }

    /// More are a load balancer's work.
    static let connectionsCeiling = 100_000

    // Of the log; what waits is there twice while it is written

    var keptLogBytes: Int { logBytes / 4 }
    var waitingLogBytes: Int { logBytes * 3 / 8 }

    // Of the caches

    var userCacheBytes: Int { cacheBytes * 4 / 10 }
    var sessionCacheBytes: Int { cacheBytes * 3 / 10 }
    var tokenCacheBytes: Int { cacheBytes * 2 / 10 }
    var keyCacheBytes: Int { cacheBytes / 10 }

    /// For the operator, at start.
    package var text: String {
        func megabytes(_ bytes: Int) -> String { "\(bytes / Self.megabyte) MB" }
        return """
            \(megabytes(totalBytes)) in all: \(megabytes(Self.baseBytes)) for the process and its database, \
            \(megabytes(hashingThreads * Self.hashingThreadBytes)) for \(hashingThreads) hashing threads, \
            \(megabytes(cacheBytes)) for caches, \(megabytes(bodyBytes * Self.bodyFactor)) for request bodies, \
            \(megabytes(connectionsMax * Self.connectionBytes)) for \(connectionsMax) connections, \
            \(megabytes(logBytes)) for the request log
            """
    }

    /// The memory that this process may have: of its control group, or of the machine.
    static var machineBytes: Int {
        let physical = Int(clamping: ProcessInfo.processInfo.physicalMemory)
        let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        let limits = files.compactMap { path in
            FileManager.default.contents(atPath: path).flatMap { TextGate.text($0, as: .keyFile) }
                .flatMap { Int($0.trimmed) }
        }
        return limits.reduce(physical, min)
    }
}
