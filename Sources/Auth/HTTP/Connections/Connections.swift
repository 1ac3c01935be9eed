import NIOCore
import Synchronization

/// The connections that are open: how many there may be, in all and from one address, and which one makes room.
///
/// When there is no place left, the connection that has been of no use for the longest time is closed: idle ones, and
/// such whose head is not complete. So half-open connections of an attacker give way to those who come with a request.
/// A class, since every connection is counted in it.
final class Connections: Sendable {
    /// Connections compared to find the one to close: among a few dozen there is one of the oldest.
    private static let sampleMax = 32
    /// Connections passed over in search of them.
    private static let searchMax = 1024

    private struct State {
        var open: [Connection] = []
        var places: [ObjectIdentifier: Int] = [:]
        var byAddress: [String: Int] = [:]
        /// Where the next sample begins.
        var cursor = 0
    }

    private let state = Mutex(State())
    let caps: ConnectionCaps

    init(caps: ConnectionCaps) {
        self.caps = caps
    }

    var count: Int { state.withLock { $0.open.count } }

    /// Takes the connection in; false when there is no place for it.
    ///
    /// `isCounted` is false for the connections of a trusted proxy, which come from many clients.
    func admit(_ connection: Connection, isCounted: Bool) -> Bool {
        let (isAdmitted, evicted) = state.withLock { state -> (Bool, Connection?) in
            let isAddressFull = isCounted && state.byAddress[connection.address, default: 0] >= caps.perAddress
            var evicted: Connection?
            if isAddressFull || state.open.count >= caps.total {
                evicted = Self.leastUseful(in: &state, from: isAddressFull ? connection.address : nil)
                guard let evicted else { return (false, nil) }
                Self.remove(evicted, from: &state)
            }
            state.places[ObjectIdentifier(connection)] = state.open.count
            state.open.append(connection)
            state.byAddress[connection.address, default: 0] += 1
            return (true, evicted)
        }
        evicted?.close()
        return isAdmitted
    }

    func remove(_ connection: Connection) {
        state.withLock { Self.remove(connection, from: &$0) }
    }

    func closeAll() {
        for connection in state.withLock({ $0.open }) { connection.close() }
    }

    private static func remove(_ connection: Connection, from state: inout State) {
        guard let place = state.places.removeValue(forKey: ObjectIdentifier(connection)) else { return }
        let last = state.open.removeLast()
        if last !== connection {
            state.open[place] = last
            state.places[ObjectIdentifier(last)] = place
        }
        let left = state.byAddress[connection.address, default: 1] - 1
        state.byAddress[connection.address] = left > 0 ? left : nil
    }

    private static func leastUseful(in state: inout State, from address: String?) -> Connection? {
        var found: (connection: Connection, since: UInt64)?
        var looked = 0
        for _ in 0..<min(state.open.count, searchMax) where looked < sampleMax {
            state.cursor = (state.cursor + 1) % state.open.count
            let connection = state.open[state.cursor]
            guard address == nil || connection.address == address else { continue }
            guard let since = connection.evictableSince else { continue }
            looked += 1
            if found.map({ since < $0.since }) ?? true { found = (connection, since) }
        }
        return found?.connection
    }
}

/// One connection, as the others' admission sees it.
///
/// A class, since its state changes on its event loop and is looked at from others.
final class Connection: Sendable {
    /// What limits count by (``AddressRange/limitKey(_:)``).
    let address: String
    private let channel: any Channel
    /// Nanoseconds of the event loops' clock; 0 while it serves a request.
    private let uselessSince = Atomic<UInt64>(0)

    init(address: String, channel: any Channel) {
        self.address = address
        self.channel = channel
    }

    /// Since when it could be closed without losing a request; nil while it couldn't.
    var evictableSince: UInt64? {
        let since = uselessSince.load(ordering: .relaxed)
        return since == 0 ? nil : since
    }

    func note(_ state: ConnectionState, at now: NIODeadline) {
        if !state.isEvictable {
            uselessSince.store(0, ordering: .relaxed)
        } else if evictableSince == nil {
            uselessSince.store(max(1, now.uptimeNanoseconds), ordering: .relaxed)
        }
    }

    func close() {
        channel.close(promise: nil)
    }
}
