import HTTPTypes
import Storage

/// For load balancers and tools.
struct HealthRoutes: Sendable {
    let services: Services
    let readiness: Readiness

    var routes: [Route] {
        [
            Route(
                .get,
                "/api/health",
                .open,
                "The process is alive",
                limit: .unlimited,
                gives: .object([.required("status", .text), .required("version", .text)])
            ) { _ in
                .data(["status": "ok", "version": .string(Version.text)])
            },
            Route(
                .get,
                "/api/ready",
                .open,
                "The server can take requests: its database answers, and it isn't draining",
                limit: .unlimited,
                gives: .object([.required("ready", .flag)])
            ) { _ in
                guard !readiness.isDraining else {
                    throw AuthError(.unavailable, "The server is shutting down.", retryAfterSeconds: 2)
                }
                try await services.db.read { tx in _ = try tx.one("SELECT 1 AS one") }
                // A node that can't verify the others' tokens must get no requests.
                _ = try await services.signingKeys()
                return .data(["ready": true])
            },
        ]
    }
}
