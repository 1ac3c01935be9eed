/// Asks until it is so, for up to so many seconds.
///
/// What one node changes is to be seen on the others within a second (contract §2); the rest is slack for a busy machine.
package func eventually(
    within seconds: Int = 4,
    every milliseconds: Int = 10,
    _ isSo: () async throws -> Bool
) async throws -> Bool {
    for _ in 0..<(seconds * 1000 / milliseconds) {
        if try await isSo() { return true }
        try await Task.sleep(for: .milliseconds(milliseconds))
    }
    return false
}
