import Foundation
import StorageTesting
import Testing

@testable import Storage

/// That callers are committed together, seen from outside: by the commits in the write-ahead log.
struct GroupingWriterTests {
    private static let notes = Migration(
        1,
        "notes",
        "CREATE TABLE notes (id {int} NOT NULL, CONSTRAINT notes_id PRIMARY KEY (id)){strict}"
    )

    /// On the main actor, so that each caller has queued its write before the next step here runs.
    @MainActor
    private func commits(of callers: Int, in directory: TemporaryDirectory) async throws -> Int {
        let path = directory.file("latchkey.db")
        let db = try SQLiteDatabase(path: path)
        try await db.migrate([Self.notes], at: 0)
        let before = try WriteAheadLog(path: path + "-wal").commits
        let meeting = Meeting()
        let holding = Task { @MainActor in
            try await db.write { tx in (try tx.execute("INSERT INTO notes (id) VALUES (-1)"), meeting.arriveAndWait()) }
        }
        await meeting.arrival()
        let queued = Queued()
        let tasks = (0..<callers).map { id in
            Task { @MainActor in
                queued.count += 1
                try await db.run("INSERT INTO notes (id) VALUES (\(id))")
            }
        }
        while queued.count < callers { await Task.yield() }
        meeting.letGo()
        for task in tasks { _ = try await task.value }
        #expect(try await holding.value.1)
        let count = try await db.read { tx in
            try tx.one("SELECT count(*) AS count FROM notes")?.get("count", as: Int.self)
        }
        #expect(count == callers + 1)
        let after = try WriteAheadLog(path: path + "-wal").commits
        try db.close()
        return after - before
    }

    @Test func `callers that wait together share one commit`() async throws {
        #expect(try await commits(of: 64, in: TemporaryDirectory()) == 2)
    }

    @Test func `a group is bounded`() async throws {
        #expect(GroupingWriter.groupCountMax == 256)
        #expect(try await commits(of: GroupingWriter.groupCountMax * 2 + 1, in: TemporaryDirectory()) == 4)
    }

    @Test func `a caller alone has a commit of its own`() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("latchkey.db")
        let db = try SQLiteDatabase(path: path)
        try await db.migrate([Self.notes], at: 0)
        let before = try WriteAheadLog(path: path + "-wal").commits
        for id in 0..<5 { try await db.run("INSERT INTO notes (id) VALUES (\(id))") }
        #expect(try WriteAheadLog(path: path + "-wal").commits - before == 5)
    }
}

/// How many callers have queued.
///
/// A class, since they all count in it.
@MainActor
private final class Queued {
    var count = 0
}

/// The frames of a write-ahead log, as far as they tell of commits (https://sqlite.org/fileformat2.html#walformat).
private struct WriteAheadLog {
    let commits: Int

    init(path: String) throws {
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        func word(_ offset: Int) -> Int { bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) } }
        guard bytes.count >= 32 else {
            commits = 0
            return
        }
        let (pageSize, salt) = (word(8), bytes[16..<24])
        // A frame of a commit tells the size of the database after it; frames of an earlier round have another salt.
        commits = stride(from: 32, through: bytes.count - 24, by: 24 + pageSize).count { frame in
            word(frame + 4) != 0 && bytes[frame + 8..<frame + 16] == salt
        }
    }
}
