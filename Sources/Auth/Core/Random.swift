import Synchronization

/// Where chance comes from.
///
/// Flows never ask the system.
struct Random: Sendable {
    /// That many unpredictable bytes.
    let bytes: @Sendable (Int) -> [UInt8]

    /// The operating system's generator (`getrandom(2)`).
    static let system = Random { count in
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 7)
        while bytes.count < count {
            withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) }
        }
        return Array(bytes.prefix(count))
    }
}
