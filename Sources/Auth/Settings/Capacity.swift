import Foundation
import Logging
import Storage

/// What this process can carry on this machine: memory, connections.
///
/// Measured once, before anything is opened.
package struct Capacity: Sendable {
    let memory: MemoryPlan
    let connections: ConnectionCaps
    private let descriptors: Int

    /// For a server: raises the limit of open files as far as it may.
    ///
    /// Throws ``Installation/Unusable`` when the machine doesn't allow for enough of them.
    package init(serving configuration: Configuration) throws {
        let memory = MemoryPlan(configuration)
        descriptors = Descriptors.raise()
        let possible = min(
            try Descriptors.connectionsMax(descriptors, others: configuration.store.connectionsMax),
            memory.connectionsMax
        )
        let total = configuration.connectionsMax.map { min($0, possible) } ?? possible
        self.memory = memory
        connections = ConnectionCaps(
            total: total,
            perAddress: configuration.connectionsPerAddressMax ?? max(1, total / 2)
        )
    }

    /// What the operator should know of it, a sentence a line.
    package var lines: [String] {
        [
            "Memory plan: \(memory.text).",
            "Connections: at most \(connections.total), \(connections.perAddress) from one address (open files: \(descriptors)).",
        ]
    }
}

extension MemoryPlan {
    init(_ configuration: Configuration) {
        self.init(
            bytes: configuration.memoryMegabytes.map { $0 * Self.megabyte },
            cores: ProcessInfo.processInfo.activeProcessorCount,
            machineBytes: Self.machineBytes
        )
    }
}

extension Configuration.Store {
    /// Descriptors that the database has open.
    fileprivate var connectionsMax: Int {
        switch self {
        // Five connections with the file, its log and its index each.
        case .sqlite: 16
        case .postgres(_, let limits): limits.connections + 4
        }
    }
}
