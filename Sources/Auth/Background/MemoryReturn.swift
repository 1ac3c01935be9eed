import CMemory
import Foundation
import ServiceLifecycle

/// Returns memory to the system after a storm of requests, which the allocator would keep.
struct MemoryReturn: Service {
    static let lookSeconds = 3
    /// Less than this is not worth the milliseconds that it takes.
    static let bytesMin = 4 << 20

    /// Off the event loops, since the allocator is locked meanwhile.
    private let queue = DispatchQueue(label: "latchkey.memory", qos: .utility)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var unusedBytes = Int.max
            while !Task.isCancelled {
                unusedBytes = await look(after: unusedBytes)
                try await Task.sleep(for: .seconds(Self.lookSeconds))
            }
        }
    }

    /// Returns what is free if there is more of it than at the `last` return, and tells how much is left.
    private func look(after last: Int) async -> Int {
        await withCheckedContinuation { continuation in
            queue.async {
                let unused = Int(clamping: lk_memory_unused_bytes())
                guard unused - Self.bytesMin > last else {
                    // In use again: when it is free once more, it is to be returned.
                    return continuation.resume(returning: min(unused, last))
                }
                lk_memory_return()
                continuation.resume(returning: Int(clamping: lk_memory_unused_bytes()))
            }
        }
    }
}
