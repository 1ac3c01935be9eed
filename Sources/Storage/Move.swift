import Crypto
import Foundation
import Synchronization

/// Copies all that one database holds into another, empty one, whatever their engines.
///
/// It knows no table by name: it asks the source for its tables, and reads and writes them in batches, so that a million
/// rows need no more memory than a thousand. Everything is written in one transaction, and read again to be compared.
package struct Move: Sendable {
    /// Rows read at once.
    static let batchRows = 500

    let source: any Database
    let target: any Database

    /// Both must have the same schema, and nobody may write to either meanwhile.
    package init(from source: any Database, to target: any Database) {
        self.source = source
        self.target = target
    }

    /// How far it is.
    package struct Progress: Sendable, Equatable {
        package enum Step: Sendable { case copying, comparing }

        package let step: Step
        package let table: String
        /// Of all tables together.
        package let done: Int
        package let total: Int
    }

    /// What both databases hold of a table.
    package struct Copied: Sendable, Equatable {
        package let table: String
        package let rows: Int
        /// Hex, over all rows in any order: alike on both engines.
        package let digest: String
    }

    /// Returns what was copied, table by table, by name.
    ///
    /// `confirm` is asked last, before the commit, and may refuse by throwing. Throws ``DatabaseError/schema(_:)`` when the
    /// target holds something, or in the end holds something else than the source; then nothing is left in it.
    package func run(
        reporting report: @escaping @Sendable (Progress) -> Void,
        confirming confirm: @escaping @Sendable () async throws -> Void = {}
    ) async throws -> [Copied] {
        let originals = try await source.read { tx in
            try tx.tables().map { (table: $0, count: try tx.count($0)) }
        }
        let total = originals.reduce(0) { $0 + $1.count }
        return try await target.writeAlone { [source] tx in
            let targets = try tx.tables()
            guard targets.map(\.name).sorted() == originals.map(\.table.name).sorted() else {
                throw DatabaseError.schema("The two databases have different tables.")
            }
            try tx.checkEmpty(targets)
            var done = 0
            // In the order of the target: its foreign keys are checked, and the source may have fewer.
            let copied = try targets.map { target in
                guard let (table, count) = originals.first(where: { $0.table.name == target.name }) else {
                    throw DatabaseError.schema("The table \(target.name) is missing.")
                }
                let copied = try RowsDigest.scan(table) { last in
                    try Blocking.wait { try await source.read { tx in try tx.rows(of: table, after: last) } }
                } each: { rows in
                    try tx.insert(rows, into: target, asIn: table)
                    done += rows.count
                    report(Progress(step: .copying, table: table.name, done: done, total: total))
                }
                guard copied.rows == count else {
                    throw DatabaseError.schema(
                        "The table \(table.name) has \(count) rows, of which \(copied.rows) could be read. Is an index broken, or does a server write?"
                    )
                }
                try tx.moveSequence(of: target)
                return copied
            }
            try tx.compare(copied, targets, total: total, report)
            try Blocking.wait(confirm)
            return copied.sorted { $0.table < $1.table }
        }
    }
}

extension Database {
    /// Throws ``DatabaseError/schema(_:)`` when a table has rows.
    package func checkEmpty() async throws {
        try await read { tx in try tx.checkEmpty(try tx.tables()) }
    }
}

extension Transaction {
    fileprivate func checkEmpty(_ tables: [Table]) throws {
        if let filled = try tables.first(where: { try count($0) > 0 }) {
            throw DatabaseError.schema(
                "The database to move to is not empty: the table \(filled.name) has rows. Give a new one."
            )
        }
    }

    /// Reads back what was written.
    fileprivate func compare(
        _ copied: [Move.Copied],
        _ tables: [Table],
        total: Int,
        _ report: (Move.Progress) -> Void
    ) throws {
        var done = 0
        for table in tables {
            let found = try RowsDigest.scan(table) { last in
                try rows(of: table, after: last)
            } each: { rows in
                done += rows.count
                report(Move.Progress(step: .comparing, table: table.name, done: done, total: total))
            }
            guard copied.contains(found) else {
                throw DatabaseError.schema("The table \(table.name) differs from its original; nothing was moved.")
            }
        }
    }

    fileprivate func count(_ table: Table) throws -> Int {
        let rows = try connection.run("SELECT count(*) AS count FROM \(table.name.quoted)", []).rows
        return try rows.first?.get("count") ?? 0
    }

    /// The next rows in the order of the primary key, as the engine sorts it.
    fileprivate func rows(of table: Table, after last: [Value]?) throws -> [[Value]] {
        let columns = table.columns.map(\.name.quoted).joined(separator: ", ")
        let key = table.key.map(\.quoted).joined(separator: ", ")
        guard !table.key.isEmpty else { throw DatabaseError.schema("The table \(table.name) has no primary key.") }
        let places = table.key.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
        let condition = last == nil ? "" : " WHERE (\(key)) > (\(places))"
        let text = "SELECT \(columns) FROM \(table.name.quoted)\(condition) ORDER BY \(key) LIMIT \(Move.batchRows)"
        return try connection.run(text, last ?? []).rows.map(\.values)
    }

    /// `source` has the same columns, maybe in another order, with the types of its own engine.
    fileprivate func insert(_ rows: [[Value]], into table: Table, asIn source: Table) throws {
        let columns = table.columns.map(\.name.quoted).joined(separator: ", ")
        let overriding =
            dialect == .postgres && table.columns.contains(where: \.isIdentity) ? " OVERRIDING SYSTEM VALUE" : ""
        let positions = table.columns.map { source.position(of: $0.name) }
        let width = positions.count
        // SQLite takes 32,766 values in a statement, PostgreSQL 65,535.
        let rowsMax = max(1, 30_000 / width)
        for start in stride(from: 0, to: rows.count, by: rowsMax) {
            let part = rows[start..<min(start + rowsMax, rows.count)]
            let tuples = part.indices.map { row in
                "(" + (0..<width).map { "$\((row - start) * width + $0 + 1)" }.joined(separator: ", ") + ")"
            }
            let values = part.flatMap { row in
                zip(positions, table.columns).map { position, column in row[position].converted(to: column) }
            }
            _ = try connection.run(
                "INSERT INTO \(table.name.quoted) (\(columns))\(overriding) VALUES \(tuples.joined(separator: ", "))",
                values
            )
        }
    }

    /// PostgreSQL's counter goes on behind the highest number; SQLite's follows by itself.
    fileprivate func moveSequence(of table: Table) throws {
        guard dialect == .postgres, let column = table.columns.first(where: \.isIdentity) else { return }
        _ = try connection.run(
            """
            SELECT setval(pg_get_serial_sequence($1, $2), coalesce(max(\(column.name.quoted)), 0) + 1, false)
            FROM \(table.name.quoted)
            """,
            [.text(table.name), .text(column.name)]
        )
    }
}

extension Table {
    fileprivate func position(of column: String) -> Int {
        columns.firstIndex { $0.name == column } ?? 0
    }
}

extension Value {
    /// SQLite keeps flags as 0 and 1.
    fileprivate func converted(to column: Table.Column) -> Value {
        switch self {
        case .integer(let number) where column.isBoolean: .bool(number != 0)
        default: self
        }
    }
}

extension String {
    /// As an identifier; it comes from the database's own catalogue.
    fileprivate var quoted: String { "\"" + replacing("\"", with: "\"\"") + "\"" }
}

/// A digest of rows in any order: the sum of their SHA-256 values, modulo 2^256.
///
/// The engines sort texts differently, so an order would have to be made first. It tells accidents, not forgers: those are
/// the audit log's business.
struct RowsDigest {
    private(set) var count = 0
    private var sum: [UInt8] = Array(repeating: 0, count: SHA256.byteCount)

    /// Reads a table batch by batch, each behind the key of the last row before it.
    static func scan(
        _ table: Table,
        _ read: ([Value]?) throws -> [[Value]],
        each batch: ([[Value]]) throws -> Void
    ) throws -> Move.Copied {
        var digest = RowsDigest()
        var last: [Value]?
        while case let rows = try read(last), let final = rows.last {
            for row in rows { digest.add(row, of: table) }
            try batch(rows)
            last = table.key.map { column in final[table.position(of: column)] }
        }
        return Move.Copied(table: table.name, rows: digest.count, digest: digest.text)
    }

    mutating func add(_ row: [Value], of table: Table) {
        var hash = SHA256()
        for (column, value) in zip(table.columns, row).sorted(by: { $0.0.name < $1.0.name }) {
            hash.update(data: Array("\(column.name)=".utf8))
            hash.update(data: value.canonicalBytes)
        }
        count += 1
        var carry = 0
        for (index, byte) in Array(hash.finalize()).enumerated().reversed() {
            carry += Int(sum[index]) + Int(byte)
            sum[index] = UInt8(carry & 0xFF)
            carry >>= 8
        }
    }

    var text: String {
        sum.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}

extension Value {
    /// The type, the length and the content, alike on both engines: a flag is the number it is on SQLite.
    fileprivate var canonicalBytes: [UInt8] {
        func framed(_ type: String, _ bytes: [UInt8]) -> [UInt8] { Array("\(type)\(bytes.count):".utf8) + bytes }
        return switch self {
        case .null: framed("n", [])
        case .text(let text): framed("t", Array(text.utf8))
        case .integer(let number): framed("i", Array(String(number).utf8))
        case .bool(let flag): framed("i", Array((flag ? "1" : "0").utf8))
        case .blob(let bytes): framed("b", bytes)
        }
    }
}

/// Waits for asynchronous work on a thread that may block: a database's own, inside a transaction on another database.
private enum Blocking {
    static func wait<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) throws -> T {
        let done = DispatchSemaphore(value: 0)
        let outcome = Outcome<T>()
        Task {
            do { outcome.value = .success(try await work()) } catch { outcome.value = .failure(error) }
            done.signal()
        }
        done.wait()
        guard let result = outcome.value else { throw DatabaseError.failed("nothing was waited for") }
        return try result.get()
    }

    /// Written before the signal and read after it.
    private final class Outcome<T: Sendable>: Sendable {
        private let stored = Mutex<Result<T, any Error>?>(nil)

        var value: Result<T, any Error>? {
            get { stored.withLock { $0 } }
            set { stored.withLock { $0 = newValue } }
        }
    }
}
