import Storage
import Synchronization
import Testing

@testable import Auth

struct CacheTests {
    private let db = Announcer()
    private let cache: Cache<String, Int>
    private let loads = Loads()

    init() {
        cache = Cache(
            bytesMax: 20 * 200,
            of: db,
            weighing: { _ in 200 - Cache<String, Int>.entryBytes },
            affected: { topic in
                if topic == "everything" { return .all }
                return topic.hasPrefix("entry:") ? .one(String(topic.dropFirst("entry:".count))) : .none
            }
        )
    }

    @discardableResult
    private func ask(_ key: String, for value: Int? = 1) async throws -> Int? {
        try await cache.value(for: key) {
            loads.count(key)
            return value
        }
    }

    @Test func `an entry is loaded once`() async throws {
        #expect(cache.present("a") == nil)
        #expect(try await ask("a", for: 1) == 1)
        #expect(try await ask("a", for: 2) == 1)
        #expect(cache.present("a") == 1)
        #expect(loads.all == ["a"])
    }

    @Test func `what is not there is asked for again`() async throws {
        #expect(try await ask("a", for: nil) == nil)
        #expect(try await ask("a", for: 2) == 2)
        #expect(loads.all == ["a", "a"])
    }

    @Test func `an entry dies with its topic, and no other does`() async throws {
        try await ask("a")
        try await ask("b")
        db.tell(.topics(["unrelated", "entry:a", "entry:c"]))
        #expect(cache.present("a") == nil)
        #expect(cache.present("b") == 1)
        #expect(try await ask("a", for: 2) == 2)
        db.tell(.topics(["unrelated"]))
        db.tell(.topics([]))
        #expect(cache.present("a") == 2)
    }

    @Test(arguments: [Change.topics(["everything"]), .topics(["entry:b", "everything"]), .unknown])
    func `a topic may be everybody's, and an unknown change is`(_ change: Change) async throws {
        for key in ["a", "b", "c"] { try await ask(key) }
        db.tell(change)
        for key in ["a", "b", "c"] { #expect(cache.present(key) == nil) }
    }

    @Test(arguments: [Change.topics(["entry:a"]), .topics(["everything"]), .unknown])
    func `a load that a write overtook is answered, but not kept`(_ change: Change) async throws {
        let old = try await cache.value(for: "a") {
            db.tell(change)
            return 1
        }
        #expect(old == 1)
        #expect(cache.present("a") == nil)
        #expect(try await ask("a", for: 2) == 2)
        #expect(cache.present("a") == 2)
    }

    @Test func `a load that another entry's write overtook is kept`() async throws {
        let value = try await cache.value(for: "a") {
            db.tell(.topics(["entry:b", "unrelated"]))
            return 1
        }
        #expect(value == 1)
        #expect(cache.present("a") == 1)
    }

    @Test func `of two loads at once the overtaken one is not kept, whichever ends last`() async throws {
        // The inner load begins and ends while the outer one is under way.
        let outer = try await cache.value(for: "a") {
            db.tell(.topics(["entry:a"]))
            let answered = try await ask("a", for: 2)
            #expect(answered == 2)
            return 1
        }
        #expect(outer == 1)
        #expect(cache.present("a") != 1)
        let inner = try await cache.value(for: "b") {
            let answered = try await ask("b", for: 1)
            #expect(answered == 1)
            db.tell(.topics(["entry:b"]))
            return 1
        }
        #expect(inner == 1)
        #expect(cache.present("b") == nil)
        for key in ["a", "b"] {
            db.tell(.topics(["entry:\(key)"]))
            #expect(try await ask(key, for: 3) == 3)
            #expect(cache.present(key) == 3)
        }
    }

    @Test func `a load that fails leaves no trace`() async throws {
        struct Failure: Error {}
        await #expect(throws: Failure.self) { try await cache.value(for: "a") { throw Failure() } }
        #expect(cache.present("a") == nil)
        #expect(try await ask("a", for: 2) == 2)
        #expect(cache.present("a") == 2)
    }

    @Test func `no more bytes are held than it may, and the latest entries are`() async throws {
        for key in 0..<1000 {
            try await ask(String(key))
            #expect(cache.bytes <= 20 * 200)
        }
        let present = (0..<1000).filter { cache.present(String($0)) != nil }
        #expect(present.count <= 20)
        #expect(present.count >= 10)
        #expect(present.suffix(10) == Array(990..<1000)[...])
    }

    @Test func `entries are weighed, not counted, and one too heavy is not kept`() async throws {
        let cache = Cache<String, Int>(bytesMax: 10_000, of: db, weighing: { $0 }, affected: { _ in .all })
        func ask(_ key: String, _ bytes: Int) async throws { _ = try await cache.value(for: key) { bytes } }
        for key in 0..<10 { try await ask("light \(key)", 100) }
        #expect(cache.bytes == 10 * (100 + Cache<String, Int>.entryBytes))
        for key in 0..<100 {
            try await ask("heavy \(key)", 2000)
            #expect(cache.bytes <= 10_000)
        }
        #expect(cache.present("light 0") == nil)
        try await ask("huge", 2500)
        #expect(cache.present("huge") == nil)
        #expect(cache.present("heavy 99") == 2000)
        db.tell(.topics(["x"]))
        #expect(cache.bytes == 0)
    }

    @Test func `what is asked for stays while others pass`() async throws {
        try await ask("often", for: 7)
        for key in 0..<500 {
            try await ask(String(key))
            #expect(cache.present("often") == 7)
        }
        #expect(loads.all.count { $0 == "often" } == 1)
        db.tell(.topics(["entry:often"]))
        #expect(cache.present("often") == nil)
    }

    @Test func `an old entry dies with its topic too`() async throws {
        for key in 0..<15 { try await ask(String(key)) }
        for key in 0..<15 {
            db.tell(.topics(["entry:\(key)"]))
            #expect(cache.present(String(key)) == nil)
        }
    }

    @Test func `parallel callers and writes never leave an old value behind`() async throws {
        let truth = Truth()
        let (db, cache) = (db, cache)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<200 {
                        _ = try await cache.value(for: "a") {
                            let read = truth.now
                            await Task.yield()
                            return read
                        }
                    }
                }
            }
            group.addTask {
                for _ in 0..<200 {
                    let written = truth.advance()
                    db.tell(.topics(["entry:a"]))
                    let present = cache.present("a")
                    #expect(present == nil || present == written)
                    await Task.yield()
                }
            }
            try await group.waitForAll()
        }
        let last = cache.present("a")
        #expect(last == nil || last == 200)
    }

    @Test func `topics name users and sessions, each its own`() {
        let time = Timestamp(milliseconds: 0)
        let (user, session) = (UserID(at: time, random: .system), SessionID(at: time, random: .system))
        #expect(Topic.userID(Topic.user(user)) == user)
        #expect(Topic.sessionID(Topic.session(session)) == session)
        #expect(Topic.userID(Topic.session(session)) == nil)
        #expect(Topic.sessionID(Topic.user(user)) == nil)
        #expect(Topic.userID(Topic.settings) == nil)
        #expect(Topic.userID("user:") == nil)
        #expect(Topic.userID("user:x") == nil)
    }
}

/// A number that only grows: what a database would hold.
///
/// A class, since all callers share it.
private final class Truth: Sendable {
    private let number = Mutex(0)

    var now: Int { number.withLock { $0 } }

    func advance() -> Int {
        number.withLock { number in
            number += 1
            return number
        }
    }
}

/// Which keys were loaded, in order.
///
/// A class, since it gathers over calls.
private final class Loads: Sendable {
    private let keys = Mutex<[String]>([])

    var all: [String] { keys.withLock { $0 } }

    func count(_ key: String) { keys.withLock { $0.append(key) } }
}

/// A database that holds nothing and only tells of changes.
///
/// A class, since it gathers subscribers.
private final class Announcer: Database {
    struct Empty: Error {}

    private let handlers = Mutex<[@Sendable (Change) -> Void]>([])

    private let hearing = Atomic(true)

    let dialect = Dialect.sqlite

    /// Whether the writes of other processes are heard.
    let damage: String? = nil
    var hearsOthers: Bool {
        get { hearing.load(ordering: .relaxed) }
        set { hearing.store(newValue, ordering: .relaxed) }
    }

    func tell(_ change: Change) {
        for handler in handlers.withLock({ $0 }) { handler(change) }
    }

    func onChange(_ handler: @escaping @Sendable (Change) -> Void) {
        handlers.withLock { $0.append(handler) }
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T { throw Empty() }
    func search<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T { throw Empty() }
    func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T { throw Empty() }
    func watch() async throws {}
    func writeAlone<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws -> T) async throws -> T {
        throw Empty()
    }
    func tell(_ topics: [String]) async throws {}
    func close() throws {}
}
