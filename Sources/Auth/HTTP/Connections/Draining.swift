import Foundation
import Logging
import ServiceLifecycle

/// The way down: tells load balancers to look elsewhere, lets requests be finished, and waits for no client for longer
/// than ``processSeconds``.
///
/// To be the last service of its group, since groups stop their services from the last to the first.
struct Draining: Service {
    /// Requests that are not answered by then are cut off.
    static let requestSeconds = 12
    /// The process ends by then, whatever still runs.
    ///
    /// What was acknowledged is on disk.
    static let processSeconds = 19

    let readiness: Readiness
    let connections: Connections
    let services: Services

    func run() async throws {
        try? await gracefulShutdown()
        readiness.drain()
        // Beside the group, which goes on to stop the server as soon as this returns.
        Task {
            try await Task.sleep(for: .seconds(Self.requestSeconds))
            connections.closeAll()
            try await Task.sleep(for: .seconds(Self.processSeconds - Self.requestSeconds))
            services.logger.warning("The process ends although some work is not finished.")
            exit(0)
        }
    }
}
