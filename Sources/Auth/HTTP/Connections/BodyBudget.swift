import Synchronization

/// The bytes of request bodies that are in memory: how many there may be in all, and from one address.
///
/// Bytes are reserved as they come from the socket and released with the answer. A class, since it counts over requests.
final class BodyBudget: Sendable {
    /// Why a body has no place.
    enum Refusal: Error {
        case process
        case address
    }

    let bytesMax: Int
    let addressBytesMax: Int
    private let state = Mutex(State())

    private struct State {
        var bytes = 0
        var byAddress: [String: Int] = [:]
    }

    /// An address may have half of all, and one whole body in any case.
    init(bytesMax: Int) {
        self.bytesMax = bytesMax
        addressBytesMax = max(Body.bytesMax + ConnectionLimits.readBytes, bytesMax / 2)
    }

    var bytesReserved: Int { state.withLock { $0.bytes } }

    func reserve(_ bytes: Int, for address: String) throws(Refusal) {
        let refusal: Refusal? = state.withLock { state in
            let ofAddress = state.byAddress[address, default: 0] + bytes
            if state.bytes + bytes > bytesMax { return .process }
            if ofAddress > addressBytesMax { return .address }
            state.bytes += bytes
            state.byAddress[address] = ofAddress
            return nil
        }
        if let refusal { throw refusal }
    }

    func release(_ bytes: Int, of address: String) {
        guard bytes > 0 else { return }
        state.withLock { state in
            state.bytes -= bytes
            let left = state.byAddress[address, default: 0] - bytes
            state.byAddress[address] = left > 0 ? left : nil
        }
    }
}
