import Foundation
import StorageTesting
import Synchronization
import Testing

@testable import Storage

/// What the nodes of a database tell each other.
@Suite(.enabled(if: Engine.available.contains(.postgres)))
struct PostgresNoticesTests {
    @Test func `topics go out in payloads that PostgreSQL takes, and come in as they were`() {
        let (own, other) = (PostgresNotices(), PostgresNotices())
        let topics = (0..<1000).map { "session:\($0)-0123456789abcdef" }
        let payloads = own.payloads(topics)
        #expect(payloads.count > 1 && payloads.allSatisfy { $0.utf8.count < 8000 })
        #expect(
            payloads.map(other.change).flatMap { change -> [String] in
                if case .topics(let topics)? = change { topics } else { [] }
            } == topics
        )
        #expect(payloads.allSatisfy { own.change($0) == nil })
    }

    @Test func `so many topics that telling them would take longer than forgetting everything are told as that`() {
        let (own, other) = (PostgresNotices(), PostgresNotices())
        let payloads = own.payloads((0..<100_000).map { "session:\($0)" })
        #expect(payloads.count == 1)
        #expect(payloads.map(other.change) == [.unknown])
        #expect(own.payloads([]).isEmpty)
    }

    /// The commit may have been stored after all, and then nobody else tells this node.
    @Test func `a node listens to itself once a commit had an unknown outcome`() {
        let notices = PostgresNotices()
        let (written, told) = (notices.payloads(["session:1"]), notices.payloads(["requests:1"], isWrite: false))
        #expect((written + told).compactMap(notices.change).isEmpty)
        notices.hearItself()
        #expect((written + told).compactMap(notices.change) == [.topics(["session:1"])])
        #expect(told.compactMap(PostgresNotices().change) == [.topics(["requests:1"])])
    }

    @Test func `a node hears what others announce and tell, and not itself`() async throws {
        let nodes = try await Engine.postgres.openNodes(2, [Migration(1, "t", "CREATE TABLE t (id {int}){strict}")])
        let watching = Task { try? await nodes[1].watch() }
        defer { watching.cancel() }
        #expect(try await eventually { nodes[1].hearsOthers })
        #expect(!nodes[0].hearsOthers)
        let (first, second) = (ChangeList(of: nodes[0]), ChangeList(of: nodes[1]))
        try await nodes[0].write { tx in
            try tx.execute("INSERT INTO t (id) VALUES (1)")
            tx.announce("user:1")
            tx.announceHere("here:3")
            tx.announce("session:2")
        }
        try await nodes[0].tell(["requests:auth:3:c0000201"])
        try await nodes[1].tell(["requests:auth:1:c0000202"])
        try await nodes[1].write { tx in tx.announce("settings") }
        #expect(
            try await eventually {
                second.topics == ["user:1", "session:2", "requests:auth:3:c0000201", "settings"]
                    || second.topics == ["user:1", "session:2", "settings", "requests:auth:3:c0000201"]
                    || second.topics == ["settings", "user:1", "session:2", "requests:auth:3:c0000201"]
            }
        )
        #expect(first.topics == ["user:1", "here:3", "session:2"])
    }

    @Test func `a transaction that is rolled back tells nobody`() async throws {
        struct Refusal: Error {}
        let nodes = try await Engine.postgres.openNodes(2)
        let watching = Task { try? await nodes[1].watch() }
        defer { watching.cancel() }
        #expect(try await eventually { nodes[1].hearsOthers })
        let heard = ChangeList(of: nodes[1])
        await #expect(throws: Refusal.self) {
            try await nodes[0].write { tx in
                _ = try tx.one("SELECT 1 AS one")
                tx.announce("user:1")
                throw Refusal()
            }
        }
        try await nodes[0].tell(["last"])
        #expect(try await eventually { heard.topics.contains("last") })
        #expect(heard.topics == ["last"])
    }

    @Test func `a listener that loses its connection is deaf until it is back, and then assumes the worst`()
        async throws
    {
        let home = try await PostgresHome.make()
        defer { home.drop() }
        let reports = Mutex<[PostgresReport]>([])
        let db = try await PostgresDatabase.open(home.url, PostgresLimits(connections: 1)) { report in
            reports.withLock { $0.append(report) }
        }
        defer { db.close() }
        let changes = ChangeList(of: db)
        let watching = Task { try? await db.watch() }
        defer { watching.cancel() }
        #expect(try await eventually { db.hearsOthers })
        try await PostgresHome.maintain(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '\(home.name)'"
        )
        #expect(try await eventually { reports.withLock { $0.count { $0 == .hears } } == 2 })
        #expect(db.hearsOthers)
        #expect(changes.all == [.unknown, .unknown])
        let kinds = reports.withLock { $0.map { report in if case .deaf = report { "deaf" } else { "hears" } } }
        #expect(kinds == ["hears", "deaf", "hears"])
        watching.cancel()
        await watching.value
        #expect(!db.hearsOthers)
    }
}
