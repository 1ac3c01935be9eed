/// Asks until it is so, for up to so many seconds, or a little more: the end is for broken tests, not for slow machines.
package func eventually(
    within seconds: Int = 60,
    every milliseconds: Int = 10,
    _ isSo: () async throws -> Bool
) async throws -> Bool {
    for _ in 0..<(seconds * 1000 / milliseconds) {
        if try await isSo() { return true }
        try await Task.sleep(for: .milliseconds(milliseconds))
    }
    return false
}
