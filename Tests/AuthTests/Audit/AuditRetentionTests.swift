import Foundation
import HTTPTypes
import OrderedCollections
import Storage
import StorageTesting
import Testing

@testable import Auth

/// The audit log is cut into segments that stay verifiable.
@Suite struct AuditRetentionTests {
    private static let day = 86_400

    /// With rows of two days, the first of which are over.
    private func aged(_ engine: Engine) async throws -> TestServer {
        let server = try await TestServer(engine, settings: ["audit.kept_days": "30"])
        _ = try await server.admin()
        for number in 0..<130 {
            try await server.services.db.write { [services = server.services] tx in
                try tx.audit(.testMailSent, by: .commandLine, details: ["host": .string("\(number)")], services)
            }
        }
        try await server.app.chain.link()
        server.clock.advance(seconds: 31 * Self.day)
        try await server.signUp("ada@example.org")
        try await server.app.chain.link()
        return server
    }

    private func report(_ server: TestServer, _ checkpoint: AuditCheckpoint? = nil, files: Bool = true) async throws
        -> AuditVerification.Report
    {
        try await AuditVerification(services: server.services).run(
            against: checkpoint,
            segments: files ? server.app.retention.directory : nil
        )
    }

    private func path(_ server: TestServer, _ number: Int64) -> String {
        server.app.retention.directory + "/" + AuditSegment.fileName(number)
    }

    private func oldRows(_ server: TestServer) async throws -> Int {
        try await server.count("SELECT count(*) AS count FROM audit_log WHERE action = 'test_mail.sent'")
    }

    @Test(arguments: Engine.available)
    func `old rows are exported, signed and removed, and the rest is verified`(_ engine: Engine) async throws {
        let server = try await aged(engine)
        let all = try await server.audit().count
        let checkpoint = try #require(try await server.app.chain.checkpoint())
        try await server.app.retention.run()
        #expect(try await oldRows(server) == 0)
        #expect(try await server.audit() == ["user.registered", "audit.segment_closed"])
        let lines = try String(contentsOfFile: path(server, 1), encoding: .utf8).split(separator: "\n")
        #expect(lines.count == all)
        #expect(JSON(parsing: String(lines[5]))?["position"] == 6)
        #expect(JSON(parsing: String(lines.last ?? ""))?["last"] == .integer(Int64(all - 1)))
        let mode = try FileManager.default.attributesOfItem(atPath: path(server, 1))[.posixPermissions] as? Int
        #expect(mode == 0o600)
        try await server.app.chain.link()
        for files in [true, false] {
            let found = try await report(server, checkpoint, files: files)
            #expect(found.problem == nil)
            #expect((found.segments, found.closed, found.linked) == (1, Int64(all - 1), Int64(all + 1)))
        }
        // At most one small segment a day, and the next one continues it.
        try await server.app.retention.run()
        #expect(try await server.audit().count == 2)
        server.clock.advance(seconds: 31 * Self.day)
        _ = try await server.signIn("ada@example.org")
        try await server.app.chain.link()
        try await server.app.retention.run()
        #expect(try await server.audit() == ["sign_in.succeeded", "audit.segment_closed"])
        #expect(try await report(server).segments == 2)
        let text = try await Commands(server.app.installation).verifyAudit(
            against: nil,
            segments: server.app.retention.directory
        ) { _ in }
        #expect(text.isSound && text.text.contains("2 closed segments"))
    }

    @Test(arguments: Engine.available)
    func `when every linked row is exported, the chain goes on behind the last segment`(_ engine: Engine) async throws {
        let server = try await aged(engine)
        server.clock.advance(seconds: 31 * Self.day)
        try await server.app.retention.run()
        #expect(try await server.audit() == ["audit.segment_closed"])
        let last = try #require(try await server.app.chain.checkpoint()).position
        _ = try await server.signIn("ada@example.org")
        try await server.app.chain.link()
        #expect(try await report(server).problem == nil)
        #expect(try await server.app.chain.checkpoint()?.position == last + 2)
    }

    @Test(arguments: Engine.available)
    func `rows stay when nothing is set, when they are young, and when one was altered`(_ engine: Engine) async throws {
        let server = try await aged(engine)
        let all = try await server.audit()
        for days in ["0", "32"] {
            try await server.set(["audit.kept_days": days])
            try await server.app.retention.run()
        }
        #expect(try await oldRows(server) == 130)
        try await server.set(["audit.kept_days": "30"])
        try await server.services.db.run("UPDATE audit_log SET ip = 'x' WHERE position = 120")
        try await server.app.retention.run()
        #expect(try await oldRows(server) == 130)
        #expect(try await server.audit().count == all.count + 3)
        #expect(!FileManager.default.fileExists(atPath: path(server, 1)))
    }

    @Test(arguments: Engine.available)
    func `an export that is cut off anywhere is done again, and nothing is lost`(_ engine: Engine) async throws {
        var number = 1
        while true {
            let server = try await aged(engine)
            server.faults.failWrite(number)
            let isDone = (try? await server.app.retention.run()) != nil
            server.faults.failWrite(nil)
            #expect(try await report(server, files: false).problem == nil)
            try await server.app.retention.run()
            #expect(try await oldRows(server) == 0)
            try await server.app.chain.link()
            let found = try await report(server)
            #expect((found.problem, found.segments) == (nil, 1))
            if isDone { break }
            number += 1
        }
        #expect(number > 3)
    }

    /// What somebody does to the segments, and what the report must name.
    private static let tamperings = [
        ("UPDATE audit_segments SET closed_at = closed_at + 1", "Segment 1 was altered"),
        ("UPDATE audit_segments SET last_position = last_position + 1 WHERE number = 2", "Segment 2 was altered"),
        ("DELETE FROM audit_segments WHERE number = 1", "Segment 1 is missing"),
        ("DELETE FROM audit_segments WHERE number = 2", "is missing"),
        ("DELETE FROM audit_segments", "Row 1 is missing"),
        ("UPDATE audit_segments SET number = 3 WHERE number = 2", "Segment 2 is missing"),
    ]

    @Test(arguments: Engine.available)
    func `a segment that is missing or altered is found, in the database and on disk`(_ engine: Engine) async throws {
        let server = try await aged(engine)
        let rows = try await server.services.db.read { tx in try tx.linkedAuditRecords(after: 100, count: 2) }
        try await server.app.retention.run()
        try await server.app.chain.link()
        server.clock.advance(seconds: 31 * Self.day)
        _ = try await server.signIn("ada@example.org")
        try await server.app.chain.link()
        let inside = try #require(try await server.app.chain.checkpoint())
        try await server.app.retention.run()
        try await server.app.chain.link()
        #expect(try await report(server).problem == nil)
        let stored = try await server.services.db.read { tx in try tx.auditSegments(after: 0, count: 10) }
        for (statement, told) in Self.tamperings {
            try await server.services.db.run(statement)
            let problem = try await report(server, files: false).problem
            #expect(problem?.contains(told) == true, "\(statement): \(problem ?? "nothing")")
            try await server.services.db.run("DELETE FROM audit_segments")
            try await server.services.db.write { tx in
                for segment in stored { _ = try tx.insertAuditSegment(segment) }
            }
            #expect(try await report(server).problem == nil)
        }
        let file = path(server, 1)
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        var altered = whole
        altered[whole.count / 2] ^= 1
        for wrong in [altered, whole.dropLast(), whole + Data("x".utf8), whole.dropFirst(400), Data()] {
            try wrong.write(to: URL(fileURLWithPath: file))
            #expect(try await report(server).problem?.contains("was altered") == true)
            #expect(try await report(server, files: false).problem == nil)
        }
        try FileManager.default.removeItem(atPath: file)
        #expect(try await report(server).problem?.contains("is missing") == true)
        try whole.write(to: URL(fileURLWithPath: file))
        // A checkpoint that was kept from before is compared with the file.
        #expect(try await report(server, inside).problem == nil)
        let key = server.services.auditKey
        let kept = try key.checkpoint(at: 101, #require(rows[0].link), time: server.clock.now)
        #expect(try await report(server, kept).problem == nil)
        #expect(try await report(server, kept, files: false).problem?.contains("name the directory") == true)
        let other = try key.checkpoint(at: 101, #require(rows[1].link), time: server.clock.now)
        #expect(try await report(server, other).problem?.contains("is not the one of the checkpoint") == true)
    }
}

extension Database {
    /// A statement of somebody who can write the database.
    fileprivate func run(_ statement: String) async throws {
        try await write { tx in _ = try tx.connection.run(statement, []) }
    }
}
