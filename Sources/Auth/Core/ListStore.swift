import Storage

/// A list as the database has it: which rows are meant, and in which order.
struct ListQuery: Sendable {
    /// Two lists of the same name have the same rows in the same order; for cursors and counts.
    let name: String
    let table: SQL
    /// Each row of the list meets exactly one of these, so that each can have an index of its own.
    let alternatives: [SQL]
    /// The columns that order it, which an index has in this order; together they are unique.
    let order: [SQL]
    let isDescending: Bool
    /// The list begins behind this key: in the place of a condition on the first of those columns, which would compete with
    /// a cursor for the index.
    var origin: [Value]?
    /// The condition that the list ends by; whatever comes before a row of it meets it as well.
    var end: SQL = "TRUE"
    /// The values of those columns.
    let key: @Sendable (Row) throws -> [Value]

    fileprivate var columns: SQL { SQL.join(order, by: ", ") }
    fileprivate var sorted: SQL { SQL.join(order.map { $0 + (isDescending ? " DESC" : "") }, by: ", ") }

    fileprivate func behind(_ key: [Value]?) -> SQL { " AND " + end + start(key) }
    fileprivate func before(_ key: [Value]) -> SQL { start(nil) + compare(key, isDescending ? " > " : " < ") }
    private func start(_ key: [Value]?) -> SQL { compare(key ?? origin, isDescending ? " < " : " > ") }

    private func compare(_ key: [Value]?, _ sign: SQL) -> SQL {
        guard let key else { return "" }
        let values = SQL.join(
            key.map { value in
                switch value {
                case .text(let text): SQL("\(text)")
                case .integer(let integer): SQL("\(integer)")
                case .null, .bool, .blob: "NULL"
                }
            },
            by: ", "
        )
        guard order.count > 1 else { return " AND " + columns + sign + values }
        return " AND (" + columns + ")" + sign + "(" + values + ")"
    }
}

extension Transaction {
    /// So many rows of the list, behind the one with this key, and behind `skipped` more.
    func rows(of list: ListQuery, behind key: [Value]? = nil, skipping skipped: Int = 0, count: Int) throws -> [Row] {
        try all(part(of: list, "*", behind: key, skipping: skipped, count: count))
    }

    /// The key of the row that comes `distance` rows behind the one with this key.
    func key(in list: ListQuery, behind key: [Value]?, distance: Int) throws -> [Value]? {
        try one(part(of: list, list.columns, behind: key, skipping: distance - 1, count: 1)).map(list.key)
    }

    /// How many rows come behind the one with this key; counts no further than `max`.
    func countRows(of list: ListQuery, behind key: [Value]? = nil, max: Int) throws -> Int {
        try countRows(of: list, where: list.behind(key), max: max)
    }

    /// How many rows come before the one with this key; counts no further than `max`.
    func countRows(of list: ListQuery, before key: [Value], max: Int) throws -> Int {
        try countRows(of: list, where: list.before(key), max: max)
    }

    private func countRows(of list: ListQuery, where condition: SQL, max: Int) throws -> Int {
        let parts = list.alternatives.map { alternative -> SQL in
            "SELECT * FROM (SELECT 1 AS one FROM \(list.table) WHERE \(alternative)\(condition) LIMIT \(max)) AS part"
        }
        let row = try one("SELECT count(*) AS count FROM (\(SQL.join(parts, by: " UNION ALL "))) AS list")
        return min(try row?.get("count") ?? 0, max)
    }

    func part(of list: ListQuery, _ columns: SQL, behind key: [Value]?, skipping skipped: Int, count: Int)
        -> SQL
    {
        func read(_ alternative: SQL, count: Int) -> SQL {
            """
            SELECT \(columns) FROM \(list.table) WHERE \(alternative)\(list.behind(key)) ORDER BY \(list.sorted)
            LIMIT \(count)
            """
        }
        if list.alternatives.count == 1 { return read(list.alternatives[0], count: count) + " OFFSET \(skipped)" }
        let parts = list.alternatives.map { alternative -> SQL in
            "SELECT * FROM (\(read(alternative, count: skipped + count))) AS part"
        }
        return """
            SELECT * FROM (\(SQL.join(parts, by: " UNION ALL "))) AS list ORDER BY \(list.sorted)
            LIMIT \(count) OFFSET \(skipped)
            """
    }
}
