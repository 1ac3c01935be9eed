import HTTPTypes

/// For load balancers and tools.
struct HealthRoutes: Sendable {
    /// Answered without a look at the database, not even for the settings: it tells that the process is alive, and must do so
    /// while the database hangs.
    static let healthPath = "/api/health"

    let services: Services
    let readiness: Readiness

    var routes: [Route] {
        [
            Route(
                .get,
                Self.healthPath,
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
                "The server can take requests: its database can be read and written, and it isn't draining",
                limit: .probe,
                gives: .object([.required("ready", .flag)])
            ) { _ in
                if let failure = await readiness.failure(services) { throw failure.refusal }
                return .data(["ready": true])
            },
        ]
    }
}
