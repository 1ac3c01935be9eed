import Crypto
import Dispatch
import Foundation

/// The file of an exported segment: a line of JSON for each row, and one for the segment.
///
/// It is written aside and gets its name when it is on disk.
struct AuditSegmentFile: Sendable {
    static let chunkBytes = 1 << 20
    /// Rows have at most some two thousand bytes.
    static let bytesMax = AuditRetention.segmentRowsMax * 4096

    struct Unusable: Error, CustomStringConvertible {
        let description: String
    }

    let path: String

    init(_ number: Int64, in directory: String) {
        path = directory + "/" + AuditSegment.fileName(number)
    }

    private var partial: String { path + ".new" }

    /// Begins an empty one; what an earlier try left is gone.
    func begin() async throws {
        try await Self.offLoop {
            let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
            unlink(partial)
            try Self.withFile(partial, O_WRONLY | O_CREAT | O_EXCL) { _ in }
        }
    }

    func append(_ bytes: [UInt8]) async throws {
        try await Self.offLoop {
            try Self.withFile(partial, O_WRONLY | O_APPEND) { descriptor in try Self.write(bytes, to: descriptor) }
        }
    }

    /// Makes it last, under its name.
    func finish(_ closing: [UInt8]) async throws {
        try await Self.offLoop {
            try Self.withFile(partial, O_WRONLY | O_APPEND) { descriptor in
                try Self.write(closing, to: descriptor)
                guard fsync(descriptor) == 0 else { throw Self.failure(partial) }
            }
            guard rename(partial, path) == 0 else { throw Self.failure(path) }
            let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
            try Self.withFile(directory, O_RDONLY) { descriptor in
                guard fsync(descriptor) == 0 else { throw Self.failure(directory) }
            }
        }
    }

    /// A sentence about the fault of the file; nil when it holds the rows of this segment.
    ///
    /// `checkpoint` is one that lies in the segment.
    func problem(as segment: AuditSegment, _ checkpoint: AuditCheckpoint?) throws -> String? {
        guard let file = FileHandle(forReadingAtPath: path) else {
            return "The file \(path) of segment \(segment.number) is missing."
        }
        defer { try? file.close() }
        let altered = "The file \(path) was altered, or is not of segment \(segment.number)."
        let size = Int(try file.seekToEnd())
        let closing = segment.line
        guard size >= closing.count, size <= Self.bytesMax else { return altered }
        try file.seek(toOffset: 0)
        var (hash, left) = (SHA256(), size - closing.count)
        var (line, isFound) = ([UInt8](), checkpoint == nil)
        while left > 0, let chunk = try file.read(upToCount: min(Self.chunkBytes, left)), !chunk.isEmpty {
            left -= chunk.count
            hash.update(data: chunk)
            guard let checkpoint, !isFound else { continue }
            line += chunk
            let lines = line.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            isFound = lines.dropLast().contains { Self.holds(Array($0), checkpoint) }
            line = lines.last.map(Array.init) ?? []
        }
        guard left == 0, Digest(hash: hash.finalize()) == segment.rows, try file.readToEnd().map(Array.init) == closing
        else {
            return altered
        }
        guard let checkpoint, !isFound else { return nil }
        return "Row \(checkpoint.position) is not the one of the checkpoint of \(checkpoint.time.rfc3339)."
    }

    private static func holds(_ line: [UInt8], _ checkpoint: AuditCheckpoint) -> Bool {
        let row = JSON(parsing: line, within: .stored)
        return row?["position"] == .integer(checkpoint.position)
            && row?["link"]?.text == Base64URL.encode(checkpoint.link.bytes)
    }

    /// The event loops have requests to serve.
    private static func offLoop(_ work: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global(qos: .utility).async { continuation.resume(with: Result(catching: work)) }
        }
    }

    private static func withFile(_ path: String, _ flags: Int32, _ body: (Int32) throws -> Void) throws {
        let descriptor = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        try body(descriptor)
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw Unusable(description: String(cString: strerror(errno))) }
            rest = rest.dropFirst(count)
        }
    }

    private static func failure(_ path: String) -> Unusable {
        Unusable(description: "\(path) can't be written: \(String(cString: strerror(errno)))")
    }
}
