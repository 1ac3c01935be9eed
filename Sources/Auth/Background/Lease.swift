import Logging
import ServiceLifecycle
import Storage
import Synchronization

/// The right to do the background work, which one node at a time has.
///
/// Its holder renews it; whoever sees it unrenewed for a while takes it over. A node measures that time by its own clock
/// alone, so the clocks of nodes may differ. Work under a lease must be harmless when two do it all the same: a node that
/// stood still learns only afterwards that it has lost it. A class, since it remembers what it saw.
final class Lease: Service {
    /// The one of the sweeper.
    static let background = "background"
    static let beatSeconds = 5
    /// Longer than a holder that lives can stay silent.
    static let lostSeconds: Int64 = 15
    /// A holder that couldn't renew for so long stops, well before another one starts.
    static let heldSeconds: Int64 = 10

    private struct State {
        var heldAt: Timestamp?
        var seen: (lease: LeaseState?, since: Timestamp)?
        var isAlone = false
    }

    private let services: Services
    private let name: String
    private let state = Mutex(State())

    init(_ name: String, _ services: Services) {
        self.name = name
        self.services = services
    }

    /// Whether this node may work now.
    var isHeld: Bool {
        let now = services.clock.now()
        // Below zero after a clock was set back: then nothing is known.
        return state.withLock { $0.heldAt.map { (0..<Self.heldSeconds).contains(now.seconds(since: $0)) } ?? false }
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown { [self] in
            while !Task.isCancelled {
                do {
                    try await beat()
                } catch {
                    services.logger.debug("The lease can't be renewed.", metadata: ["cause": "\(error)"])
                }
                try await Task.sleep(for: .seconds(Self.beatSeconds))
            }
        }
        try? await giveBack()
    }

    /// Declares that no other process can have the lease: a holder that is still written down has died.
    func beAlone() {
        state.withLock { $0.isAlone = true }
    }

    /// Renews the lease, or takes it when it is free or its holder has died.
    func beat() async throws {
        let (node, now) = (services.nodeID, services.clock.now())
        let wasHeld = isHeld
        var isOwn = try await services.db.write { [name] tx in try tx.renewLease(name, of: node) }
        if !isOwn {
            let lease = try await services.db.read { [name] tx in try tx.lease(name) }
            let isAbandoned = state.withLock { state in
                if state.isAlone { return true }
                guard let seen = state.seen, seen.lease == lease else {
                    state.seen = (lease, now)
                    return lease == nil
                }
                return lease == nil || now.seconds(since: seen.since) >= Self.lostSeconds
            }
            if isAbandoned {
                isOwn = try await services.db.write { [name] tx in try tx.takeLease(name, for: node, from: lease) }
            }
        }
        let isHeld = isOwn
        state.withLock { $0.heldAt = isHeld ? now : nil }
        if isHeld && !wasHeld {
            services.logger.notice("This node does the background work now.", metadata: ["node": "\(node)"])
        }
    }

    /// Lets another node take it at once.
    func giveBack() async throws {
        state.withLock { $0.heldAt = nil }
        let node = services.nodeID
        try await services.db.write { [name] tx in try tx.giveLeaseBack(name, of: node) }
    }
}
