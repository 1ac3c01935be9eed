import CArgon2
import Testing

@testable import Auth

/// A hash with parameters of the past.
enum OldHash {
    static func make(_ password: String) throws -> String {
        var text = [CChar](repeating: 0, count: 128)
        let outcome = lk_argon2_hash(&text, password, password.utf8.count, 3, 8 << 20)
        try #require(outcome == LK_ARGON2_OK.rawValue)
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

@Suite struct HashingThreadsTests {
    @Test func `hashes are served from the thread's arena and verify`() async throws {
        let threads = HashingThreads(count: 1)
        let hasher = PasswordHasher(threads: threads)
        let before = try await threads.run { lk_argon2_arena_uses() }
        let hash = try await hasher.hash(Secret("correct horse"))
        #expect(hash.rawValue.hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
        #expect(try await hasher.matches(Secret("correct horse"), hash))
        #expect(try await !hasher.matches(Secret("correct horsf"), hash))
        let after = try await threads.run { lk_argon2_arena_uses() }
        #expect(after - before == 3)
        #expect(!hasher.isOutdated(hash))
    }

    @Test func `a wiped arena serves the next hash`() async throws {
        let threads = HashingThreads(count: 1)
        let hasher = PasswordHasher(threads: threads)
        let hash = try await hasher.hash(Secret("correct horse"))
        _ = try await threads.run { lk_argon2_arena_wipe() }
        #expect(try await hasher.matches(Secret("correct horse"), hash))
    }

    @Test func `without an arena the plain path gives the same hashes`() throws {
        var text = [CChar](repeating: 0, count: 128)
        let uses = lk_argon2_arena_uses()
        #expect(lk_argon2_hash(&text, "secret", 6, 2, PasswordHash.memoryBytes) == LK_ARGON2_OK.rawValue)
        #expect(lk_argon2_verify(text, "secret", 6) == LK_ARGON2_OK.rawValue)
        #expect(lk_argon2_verify(text, "Secret", 6) == LK_ARGON2_MISMATCH.rawValue)
        #expect(lk_argon2_arena_uses() == uses)
    }

    @Test func `the dummy hash is readable, current, and matches nothing`() async throws {
        let hasher = PasswordHasher(threads: HashingThreads(count: 1))
        #expect(!hasher.isOutdated(.dummy))
        for password in ["", "password", "secret123"] {
            #expect(try await !hasher.matches(Secret(password), .dummy))
        }
    }

    @Test func `a full queue refuses at once`() async throws {
        let threads = HashingThreads(count: 1)
        let outcomes = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<(HashingThreads.waitingPerThreadMax * 3) {
                group.addTask {
                    do {
                        _ = try await PasswordHasher(threads: threads).matches(Secret("x"), .dummy)
                        return true
                    } catch let error as AuthError
                        where error.code == .overloaded && (error.retryAfterSeconds ?? 0) >= 1
                    {
                        return false
                    }
                }
            }
            return try await group.reduce(into: [Bool: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect((outcomes[true] ?? 0) > HashingThreads.waitingPerThreadMax - 1)
        #expect((outcomes[false] ?? 0) > 0)
    }

    @Test func `those who find a full queue are spread over the time to come`() {
        var slots = RetrySlots()
        // 200 a second are served, and 200 wait: of 600 who come at once, each second gets a third.
        let waits = (0..<600).map { _ in slots.take(at: 100, queueSeconds: 1, jobSeconds: 0.005) }
        #expect(Dictionary(grouping: waits, by: \.self).mapValues(\.count) == [2: 200, 3: 200, 4: 200])
        // Later the places begin where the queue ends.
        #expect(slots.take(at: 200, queueSeconds: 0.2, jobSeconds: 0.005) == 1)
    }

    @Test func `nobody is told to wait longer than ten seconds`() {
        var slots = RetrySlots()
        let waits = (0..<100_000).map { _ in slots.take(at: 5, queueSeconds: 1.5, jobSeconds: 0.005) }
        #expect(waits.max() == 10)
        #expect(waits.min() == 2)
    }
}
