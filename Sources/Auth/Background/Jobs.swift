import Logging
import ServiceLifecycle
import Storage

/// Does the jobs, one after the other, on the node that has the lease.
///
/// Every step reads the job in its own transaction: two that drive the same one share the work.
struct Jobs: Service {
    static let lookSeconds = 1
    static let progressSeconds = 10

    let services: Services
    let lease: Lease

    /// How a job ended.
    enum Outcome: Sendable {
        case going
        case finished
        /// The change was taken back, since two records share a value of this field.
        case reverted(field: String)
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                if lease.isHeld { await workOrWarn() }
                try await Task.sleep(for: .seconds(Self.lookSeconds))
            }
        }
    }

    private func workOrWarn() async {
        do {
            try await work()
        } catch is CancellationError {
            return
        } catch {
            services.logger.warning("A job failed; it goes on in a moment.", metadata: ["cause": "\(error)"])
        }
    }

    /// Does every job there is.
    func work() async throws {
        while let job = try await services.db.read({ [services] tx in try tx.oldestJob(at: services.clock.now()) }) {
            if case .going = try await drive(job.id) { return }
        }
    }

    /// Goes on with a job until it has ended or the time is over.
    @discardableResult
    func drive(_ id: Identifier<Job>, forSeconds seconds: Int = .max) async throws -> Outcome {
        let steps = Steps(db: services.db)
        let start = ContinuousClock.now
        var told = start
        while true {
            let step = try await steps.step(from: Outcome.going) { [services] tx, _ in
                guard let job = try tx.job(id) else { return .finished(.finished) }
                let outcome = try CollectionJobs(services: services).work(on: job, in: tx)
                if case .going = outcome { return .more(outcome) }
                return .finished(outcome)
            }
            let now = ContinuousClock.now
            if now - told >= .seconds(Self.progressSeconds) {
                told = now
                try await tellProgress(of: id)
            }
            switch step.next {
            case .finished(let outcome):
                if case .finished = outcome { tellEnd(of: id, after: now - start) }
                return outcome
            case .more: if now - start >= .seconds(seconds) { return .going }
            }
            try await steps.pause(after: step)
        }
    }

    private func tellProgress(of id: Identifier<Job>) async throws {
        guard let job = try await services.db.read({ tx in try tx.job(id) }) else { return }
        services.logger.notice(
            "A job is under way.",
            metadata: ["kind": "\(job.kind.rawValue)", "collection": "\(job.collection)", "done": "\(job.done)"]
        )
    }

    private func tellEnd(of id: Identifier<Job>, after duration: Duration) {
        services.logger.info("A job is done.", metadata: ["job": "\(id)", "seconds": "\(duration.components.seconds)"])
    }
}
