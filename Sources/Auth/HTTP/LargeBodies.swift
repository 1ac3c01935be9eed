import Foundation

/// Runs the tasks of requests with large bodies on a thread of its own.
///
/// Parsing and validating a megabyte takes milliseconds, and on an event loop everybody else would wait for them. A
/// class, since it owns a thread.
final class LargeBodies: TaskExecutor {
    /// Bodies of more bytes are handled here.
    static let bytesMin = 65_536

    private let queue = DispatchQueue(label: "latchkey.large-bodies", qos: .utility)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
