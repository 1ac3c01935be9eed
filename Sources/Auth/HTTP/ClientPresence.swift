import Synchronization

/// Notices that the other end of a connection has left, so that what was done for it can end.
///
/// Told by the ``SocketHandler`` of the connection. A class, since it is shared with what runs for its requests.
final class ClientPresence: Sendable {
    private struct State {
        var hasLeft = false
        var nextID = 0
        var leaving: [Int: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    /// The client has closed the connection, or its half of it: at first one can't tell which.
    func leave() {
        let leaving = state.withLock { state in
            state.hasLeft = true
            defer { state.leaving = [:] }
            return state.leaving.values.map(\.self)
        }
        for act in leaving { act() }
    }

    /// Runs `body` in a task that is cancelled when the client leaves, or the caller's own is.
    func whilePresent<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
        let task = Task { try await body() }
        let id = state.withLock { state -> Int? in
            guard !state.hasLeft else { return nil }
            state.nextID += 1
            state.leaving[state.nextID] = { task.cancel() }
            return state.nextID
        }
        if id == nil { task.cancel() }
        defer { if let id { _ = state.withLock { $0.leaving.removeValue(forKey: id) } } }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }
}
