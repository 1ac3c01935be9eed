import Foundation

/// The right of one process to serve a data directory with a SQLite file in it.
///
/// The kernel gives the lock back when the process ends, however it ends. A class, since the lock lasts as long as the open
/// file.
final class ServingLock: Sendable {
    private static let name = ".serving"

    private let descriptor: Int32

    /// Throws ``Installation/Unusable`` when another process has it.
    init(directory: String) throws {
        let path = directory + "/" + Self.name
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw Installation.Unusable(description: "The lock file \(path) can't be opened: \(reason)")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let holder = Self.holder(descriptor).map { " (process \($0))" } ?? ""
            close(descriptor)
            throw Installation.Unusable(
                description: """
                    Another server is running on the data directory \(directory)\(holder). Stop it first, or give this one \
                    another directory by --data-dir.
                    """
            )
        }
        var owner = stat()
        if geteuid() == 0, stat(directory, &owner) == 0 { fchown(descriptor, owner.st_uid, owner.st_gid) }
        ftruncate(descriptor, 0)
        let text = Array("\(getpid())\n".utf8)
        _ = pwrite(descriptor, text, text.count, 0)
    }

    deinit { close(descriptor) }

    /// The number of the process that has it, as it wrote it down.
    private static func holder(_ descriptor: Int32) -> Int? {
        var bytes = [UInt8](repeating: 0, count: 20)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? Int(String(decoding: bytes[..<count], as: UTF8.self).trimmed) : nil
    }
}
