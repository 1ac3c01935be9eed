import HTTPTypes
import Storage
import StorageTesting
import Testing

@testable import Auth

/// Pages of lists, by number and by cursor.
struct ListTests {
    private func items(_ reply: Reply) throws -> [JSON] {
        guard case .array(let items) = try reply.data() else { return [] }
        return items
    }

    /// Follows the cursors from the beginning to the end.
    private func walk(_ server: TestServer, _ path: String, size: Int, token: String) async throws -> [[JSON]] {
        var pages: [[JSON]] = []
        var cursor: String? = ""
        while let text = cursor {
            let reply = try await server.get("\(path)perPage=\(size)&cursor=\(text)", token: token)
            pages.append(try items(reply))
            #expect(reply.json["totalItems"] == nil && reply.json["page"] == nil)
            #expect(reply.json["perPage"] == .integer(Int64(size)))
            cursor = reply.json["next_cursor"]?.text
            if pages.count > 100 { break }
        }
        return pages
    }

    private func fill(_ server: TestServer, users count: Int) async throws {
        let collection = try await server.services.collections()["users"]!
        let now = server.clock.now
        try await server.services.db.write { tx in
            for number in 0..<count {
                let id = UserID(at: now, random: .system)
                try tx.execute(
                    """
                    INSERT INTO users (id, collection_id, kind, status, email, email_folded, data, created_at, updated_at)
                    VALUES (\(id), \(collection.id), 'human', 'active', \("u\(number)@example.org"),
                        \("u\(number)@example.org"), '{}', \(now.advanced(bySeconds: number)), \(now))
                    """
                )
            }
        }
    }

    @Test(arguments: Engine.available)
    func `cursors give every element once, in the order of the pages`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await fill(server, users: 23)
        for path in ["/api/admin/users/users?", "/api/records/users?filter=status%20%3D%20active&"] {
            let pages = try await walk(server, path, size: 5, token: admin)
            #expect(pages.map(\.count) == [5, 5, 5, 5, 3])
            let all = try items(try await server.get("\(path)perPage=500", token: admin))
            #expect(pages.flatMap(\.self).map { $0["id"] } == all.map { $0["id"] })
            #expect(Set(all.compactMap { $0["id"]?.text }).count == 23)
        }
    }

    @Test(arguments: Engine.available)
    func `a cursor goes on where it was while elements come and go`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await fill(server, users: 10)
        let first = try await server.get("/api/admin/users/users?perPage=4", token: admin)
        let next = try #require(first.json["next_cursor"]?.text)
        let seen = try items(first).compactMap { $0["email"]?.text }
        // The element that the cursor names is removed, and others come.
        let gone = try #require(try items(first).last?["id"]?.text)
        #expect(try await server.send(.delete, "/api/admin/users/users/\(gone)", token: admin).status == 200)
        server.clock.advance(seconds: 3600)
        try await server.signUp("late@example.org")
        let rest = try items(try await server.get("/api/admin/users/users?perPage=50&cursor=\(next)", token: admin))
        let emails = seen + rest.compactMap { $0["email"]?.text }
        #expect(emails == (0..<10).map { "u\($0)@example.org" } + ["late@example.org"])
    }

    @Test(arguments: Engine.available)
    func `a page by number tells how many there are, and where to go on`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await fill(server, users: 7)
        let second = try await server.get("/api/admin/users/users?page=2&perPage=3", token: admin)
        #expect(try items(second).compactMap { $0["email"]?.text } == (3..<6).map { "u\($0)@example.org" })
        #expect(second.json["page"] == 2 && second.json["perPage"] == 3)
        #expect(second.json["totalItems"] == 7 && second.json["totalPages"] == 3)
        let next = try #require(second.json["next_cursor"]?.text)
        let last = try await server.get("/api/admin/users/users?cursor=\(next)&perPage=3", token: admin)
        #expect(try items(last).compactMap { $0["email"]?.text } == ["u6@example.org"])
        #expect(last.json["next_cursor"] == .null)
        let beyond = try await server.get("/api/admin/users/users?page=9&perPage=3", token: admin)
        #expect(try items(beyond).isEmpty && beyond.json["totalItems"] == 7)
    }

    @Test(arguments: Engine.available)
    func `a cursor that is not of this list is refused`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        try await fill(server, users: 3)
        let path = "/api/admin/users/users?perPage=1"
        let cursor = try #require(try await server.get(path, token: admin).json["next_cursor"]?.text)
        let other = try await server.get("/api/admin/audit?perPage=1", token: admin).json["next_cursor"]?.text ?? ""
        let altered = String(cursor.dropLast()) + (cursor.last == "A" ? "B" : "A")
        for bad in ["x", "0", altered, other, cursor + "A", String(repeating: "A", count: 5000), "%F0%9F%98%80"] {
            let reply = try await server.get("\(path)&cursor=\(bad)", token: admin)
            #expect(reply.status == 422 && reply.details?["cursor"] != nil, "\(bad): \(reply.text)")
        }
        let filtered = try await server.get("\(path)&cursor=\(cursor)&filter=kind%3Dhuman", token: admin)
        #expect(filtered.status == 422)
        let both = try await server.get("\(path)&cursor=\(cursor)&page=1", token: admin)
        #expect(both.status == 422 && both.details?["page"] != nil)
    }

    @Test(arguments: Engine.available)
    func `every list has pages and cursors`(_ engine: Engine) async throws {
        let server = try await TestServer(engine, settings: ["auth.otp.enabled": "1"])
        let admin = try await server.admin()
        try await server.signUp("ada@example.org")
        var token = ""
        for _ in 1...4 { token = try await server.signIn("ada@example.org") }
        for _ in 1...3 {
            _ = try await server.post("/api/users/me/secrets", ["type": "apikey"], token: token).data()
            for name in ["one", "two", "three"] {
                _ = try await server.post(
                    "/api/collections",
                    ["name": .string(name + String(try await server.users()))],
                    token: admin
                )
            }
            _ = try await server.post("/api/auth/users/otp/request", ["email": "ada@example.org"])
            server.clock.advance(seconds: 61)
        }
        let lists = [
            ("/api/auth/sessions", token, 4), ("/api/users/me/secrets", token, 4), ("/api/collections", admin, 5),
            ("/api/admin/audit", admin, 8), ("/api/admin/outbox", admin, 3), ("/api/admin/inbox", admin, 3),
            ("/api/admin/logs", admin, 0), ("/api/auth/users/oauth2/providers", token, 0),
            ("/api/auth/users/oauth2/links", token, 0),
        ]
        for (path, token, least) in lists {
            let whole = try await server.get("\(path)?perPage=500", token: token)
            let all = try items(whole)
            #expect(all.count >= least, "\(path): \(all.count)")
            #expect(whole.json["page"] == 1 && whole.json["totalPages"] != nil, "\(path)")
            if path != "/api/admin/logs" { #expect(whole.json["totalItems"] == .integer(Int64(all.count)), "\(path)") }
            #expect(try await server.get("\(path)?perPage=501", token: token).status == 422, "\(path)")
            if least > 0 {
                let pages = try await walk(server, "\(path)?", size: 2, token: token)
                #expect(pages.allSatisfy { $0.count <= 2 })
                #expect(pages.flatMap(\.self).prefix(all.count).map { $0["id"] } == all.map { $0["id"] }, "\(path)")
            }
        }
    }

    @Test(arguments: Engine.available)
    func `a list of more than ten thousand is paged by number to its end, and counted`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let count = ListMarks.countedRowsMax + 10 * ListMarks.spacingRows + 321
        try await fill(server, users: count)
        func page(_ number: Int) async throws -> ([String], JSON?) {
            let reply = try await server.get("/api/admin/users/users?page=\(number)&perPage=100", token: admin)
            return (try items(reply).compactMap { $0["email"]?.text }, reply.json["totalItems"])
        }
        for number in [1, 2, 50, 51, 100, 101, 102, 150, 151, 203, 204] {
            let (emails, total) = try await page(number)
            let first = (number - 1) * 100
            #expect(emails == (first..<min(first + 100, count)).map { "u\($0)@example.org" }, "\(number)")
            #expect(total == .integer(Int64(count)))
        }
        #expect(try await page(205).0.isEmpty)
        // One that comes is counted at once, one that goes within a minute.
        server.clock.advance(seconds: count)
        try await server.signUp("late@example.org")
        #expect(try await page(1).1 == .integer(Int64(count + 1)))
        try await server.services.db.write { tx in
            _ = try tx.execute("DELETE FROM users WHERE email = 'u0@example.org'")
        }
        server.clock.advance(seconds: 61)
        #expect(try await page(1).1 == .integer(Int64(count)))
        #expect(try await page(1).0.first == "u1@example.org")
    }

    @Test(arguments: Engine.available)
    func `the newest rows of a long audit log come first, however old its marks are`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let count = ListMarks.countedRowsMax + 100
        let start = server.clock.now
        try await server.services.db.write { tx in
            for number in 0..<count {
                try tx.execute(
                    """
                    INSERT INTO audit_log (id, at, action, ip, outcome, details)
                    VALUES (\(AuditID(at: start, random: .system)), \(start.advanced(bySeconds: number)), 'session.ended',
                        \("row \(number)"), 'success', '{}')
                    """
                )
            }
        }
        server.clock.advance(seconds: count)
        func ids(_ number: Int) async throws -> [String] {
            try items(
                try await server.get("/api/admin/audit?action=session.ended&perPage=100&page=\(number)", token: admin)
            ).compactMap { $0["ip"]?.text }
        }
        let before = try await ids(60)
        #expect(before == (0..<100).map { "row \(count - 5901 - $0)" })
        let now = server.clock.now
        try await server.services.db.write { tx in
            for number in 0..<100 {
                try tx.execute(
                    """
                    INSERT INTO audit_log (id, at, action, ip, outcome, details)
                    VALUES (\(AuditID(at: now, random: .system)), \(now), 'session.ended', \("new \(number)"), 'success', '{}')
                    """
                )
            }
        }
        #expect(try await ids(1) == (0..<100).map { "new \(99 - $0)" })
        #expect(try await ids(61) == before)
    }

    @Test(arguments: Engine.available)
    func `the audit log is found by each question, alone and together`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let (ada, bob, root) = (
            UserID(at: server.clock.now, random: .system), UserID(at: server.clock.now, random: .system),
            UserID(at: server.clock.now, random: .system)
        )
        let start = server.clock.now
        let rows: [(String, Int, UserID?, UserID?, UserID?, AuditEvent)] = [
            ("a", 0, ada, ada, nil, .signInSucceeded), ("b", 1, bob, ada, nil, .passwordSet),
            ("c", 2, ada, bob, root, .sessionEnded), ("d", 3, nil, ada, nil, .signInSucceeded),
            ("e", 4, root, bob, root, .sessionEnded), ("f", 5, nil, bob, root, .sessionEnded),
        ]
        try await server.services.db.write { tx in
            _ = try tx.execute("DELETE FROM audit_log")
            for (label, second, actor, subject, impersonator, action) in rows {
                try tx.execute(
                    """
                    INSERT INTO audit_log (id, at, action, actor_id, subject_id, auth_impersonated_by, ip, outcome, details)
                    VALUES (\(AuditID(at: start, random: .system)), \(start.advanced(bySeconds: second)),
                        \(action.rawValue), \(actor), \(subject), \(impersonator), \(label), 'success', '{}')
                    """
                )
            }
        }
        let questions: [(String, String)] = [
            ("", "fedcba"), ("actor=\(ada)", "ca"), ("actor=\(root)", "fec"), ("subject=\(ada)", "dba"),
            ("action=session.ended", "fec"), ("actor=\(ada)&subject=\(ada)", "a"),
            ("actor=\(root)&action=session.ended&subject=\(bob)", "fec"),
            ("from=\(start.advanced(bySeconds: 2).rfc3339)", "fedc"),
            ("to=\(start.advanced(bySeconds: 2).rfc3339)", "ba"),
            (
                "actor=\(root)&from=\(start.advanced(bySeconds: 3).rfc3339)&to=\(start.advanced(bySeconds: 5).rfc3339)",
                "e"
            ), ("subject=\(root)", ""),
        ]
        for (question, expected) in questions {
            let reply = try await server.get("/api/admin/audit?\(question)&perPage=100", token: admin)
            #expect(try items(reply).compactMap { $0["ip"]?.text }.joined() == expected, "\(question)")
            #expect(reply.json["totalItems"] == .integer(Int64(expected.count)), "\(question)")
            let pages = try await walk(server, "/api/admin/audit?\(question)&", size: 2, token: admin)
            #expect(pages.flatMap(\.self).compactMap { $0["ip"]?.text }.joined() == expected, "\(question)")
        }
    }

    @Test(arguments: Engine.available)
    func `bounds of time hold on every part of a list`(_ engine: Engine) async throws {
        let server = try await TestServer(engine)
        let admin = try await server.admin()
        let start = server.clock.now
        try await fill(server, users: 10)
        let questions = [
            "created_at >= \(start.advanced(bySeconds: 4).rfc3339)",
            "created_at > \(start.advanced(bySeconds: 3).rfc3339)",
            "created_at > \(start.rfc3339) && created_at >= \(start.advanced(bySeconds: 4).rfc3339)",
        ]
        for question in questions {
            let filter = question.replacing(" ", with: "%20").replacing("&", with: "%26").replacing(">", with: "%3E")
                .replacing("=", with: "%3D")
            let pages = try await walk(server, "/api/admin/users/users?filter=\(filter)&", size: 2, token: admin)
            #expect(pages.flatMap(\.self).compactMap { $0["email"]?.text } == (4..<10).map { "u\($0)@example.org" })
            let page = try await server.get("/api/admin/users/users?filter=\(filter)&page=2&perPage=4", token: admin)
            #expect(page.json["totalItems"] == 6)
            #expect(try items(page).count == 2)
        }
    }

    @Test func `lists are read by an index, in its order`() async throws {
        let server = try await TestServer(.sqlite)
        var filters: [(AuditFilter, String)] = [(AuditFilter(), "audit_log_by_time")]
        let user = UserID(at: server.clock.now, random: .system)
        filters.append((AuditFilter(actor: user), "audit_log_by_actor"))
        filters.append((AuditFilter(actor: user), "audit_log_by_impersonator"))
        filters.append((AuditFilter(subject: user), "audit_log_by_subject"))
        filters.append((AuditFilter(action: .signInFailed), "audit_log_by_action"))
        filters.append((AuditFilter(from: server.clock.now, to: server.clock.now), "audit_log_by_time"))
        for (filter, index) in filters {
            for key in [nil, [Value.integer(1), .integer(1)]] as [[Value]?] {
                let plan = try await server.services.db.read { tx in
                    try tx.plan(of: filter.list, behind: key)
                }
                #expect(plan.contains(index), "\(index): \(plan)")
                // Two indexes that are merged are sorted, but only so many rows as the page has.
                if filter.actor == nil { #expect(!plan.contains("TEMP B-TREE"), "\(plan)") }
                #expect(!plan.contains("SCAN audit_log\n"), "\(plan)")
            }
        }
    }
}

private typealias AuditID = Identifier<AuditEvent>

extension Transaction {
    /// How SQLite reads a part of a list.
    fileprivate func plan(of list: ListQuery, behind key: [Value]?) throws -> String {
        try all("EXPLAIN QUERY PLAN \(part(of: list, "*", behind: key, skipping: 0, count: 31))").map { row in
            try row.get("detail", as: String.self)
        }.joined(separator: "\n") + "\n"
    }
}
