import Storage
import Testing

struct SQLTests {
    private func expect(_ sql: SQL, _ text: String, _ values: [Value], at place: SourceLocation = #_sourceLocation) {
        let rendered = sql.render()
        #expect(rendered.text == text, sourceLocation: place)
        #expect(rendered.values == values, sourceLocation: place)
    }

    @Test func `text without values is rendered as it is`() {
        expect("SELECT 1", "SELECT 1", [])
        expect("", "", [])
        expect("WHERE a = '$1' AND b LIKE '\\'", "WHERE a = '$1' AND b LIKE '\\'", [])
    }

    @Test func `interpolated values are bound and numbered from one`() {
        let (name, count, isOn, bytes) = ("ada", Int64.min, true, [UInt8(1), 2])
        expect(
            "a = \(name) AND b = \(count) AND c = \(isOn) AND d = \(bytes) AND e = \(7)",
            "a = $1 AND b = $2 AND c = $3 AND d = $4 AND e = $5",
            [.text("ada"), .integer(.min), .bool(true), .blob([1, 2]), .integer(7)]
        )
    }

    @Test func `the same value twice is bound twice`() {
        let now: Int64 = 5
        expect("a < \(now) AND b > \(now)", "a < $1 AND b > $2", [.integer(5), .integer(5)])
    }

    @Test func `a value never becomes SQL text, whatever it holds`() {
        for hostile in ["'; DROP TABLE users; --", "$1", "\\", "\u{0}", "x\" OR 1=1"] {
            expect("id = \(hostile)", "id = $1", [.text(hostile)])
        }
    }

    @Test func `nil is bound as NULL`() {
        let (text, integer, flag, bytes): (String?, Int?, Bool?, [UInt8]?) = (nil, nil, nil, nil)
        expect("\(text), \(integer), \(flag), \(bytes)", "$1, $2, $3, $4", [.null, .null, .null, .null])
        let (present, zero): (String?, Int64?) = ("", 0)
        expect("\(present), \(zero)", "$1, $2", [.text(""), .integer(0)])
    }

    @Test func `a part keeps its values, and the numbers go on through it`() {
        let inner: SQL = "b = \("two") OR b = \("three")"
        let middle: SQL = "(\(inner)) AND c = \("four")"
        expect(
            "a = \("one") AND \(middle) AND d = \("five")",
            "a = $1 AND (b = $2 OR b = $3) AND c = $4 AND d = $5",
            [.text("one"), .text("two"), .text("three"), .text("four"), .text("five")]
        )
    }

    @Test func `numbers go beyond nine`() {
        let list = SQL.join((1...12).map { "\($0)" }, by: ", ")
        expect("(\(list))", "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", (1...12).map { .integer($0) })
    }

    @Test func `two statements are joined by plus`() {
        let start: SQL = "SELECT id FROM users WHERE a = \(1)"
        expect(start + " AND b = \(2)", "SELECT id FROM users WHERE a = $1 AND b = $2", [.integer(1), .integer(2)])
        expect(start + "", "SELECT id FROM users WHERE a = $1", [.integer(1)])
    }

    @Test func `join puts the separator between each two`() {
        expect(SQL.join([], by: " AND "), "", [])
        expect(SQL.join(["a = \(1)"], by: " AND "), "a = $1", [.integer(1)])
        expect(
            SQL.join(["a = \(1)", "TRUE", "b = \("x")"], by: " AND "),
            "a = $1 AND TRUE AND b = $2",
            [.integer(1), .text("x")]
        )
        expect(SQL.join(["a", "b"], by: " OR \(3) OR "), "a OR $1 OR b", [.integer(3)])
    }

    @Test func `types of our own are bound by what they convert to`() {
        expect("kind = \(Fruit.apple) AND other = \(Fruit?.none)", "kind = $1 AND other = $2", [.text("apple"), .null])
    }
}

private enum Fruit: String, SQLConvertible {
    case apple
    case pear
}

struct RowTests {
    private let row = Row(
        columns: ["text", "integer", "flag", "blob", "nothing", "fruit"],
        values: [.text("a"), .integer(1), .bool(true), .blob([1]), .null, .text("pear")]
    )

    @Test func `columns are read by name and type`() throws {
        #expect(try row.get("text") == "a")
        #expect(try row.get("integer", as: Int.self) == 1)
        #expect(try row.get("integer", as: Int64.self) == 1)
        #expect(try row.get("flag") == true)
        #expect(try row.get("blob", as: [UInt8].self) == [1])
        #expect(try row.get("fruit") == Fruit.pear)
        #expect(try row.get("fruit") == Fruit?.some(.pear))
        #expect(try row.get("nothing") == Fruit?.none)
    }

    @Test func `another type, a missing column, NULL and an unknown case are errors`() {
        #expect(throws: DatabaseError.unreadable("text")) { try row.get("text", as: Int.self) }
        #expect(throws: DatabaseError.unreadable("integer")) { try row.get("integer", as: String.self) }
        #expect(throws: DatabaseError.unreadable("blob")) { try row.get("blob", as: Bool.self) }
        #expect(throws: DatabaseError.unreadable("nothing")) { try row.get("nothing", as: String.self) }
        #expect(throws: DatabaseError.unreadable("missing")) { try row.get("missing", as: String?.self) }
        #expect(throws: DatabaseError.unreadable("Text")) { try row.get("Text", as: String.self) }
        #expect(throws: DatabaseError.unreadable("text")) { try row.get("text", as: Fruit.self) }
        #expect(throws: DatabaseError.unreadable("text")) { try row.get("text", as: Fruit?.self) }
    }

    @Test func `a flag is read from 0 and 1, and from nothing else`() throws {
        let row = Row(
            columns: ["zero", "one", "two", "text"],
            values: [.integer(0), .integer(1), .integer(2), .text("1")]
        )
        #expect(try row.get("zero") == false)
        #expect(try row.get("one") == true)
        #expect(throws: DatabaseError.unreadable("two")) { try row.get("two", as: Bool.self) }
        #expect(throws: DatabaseError.unreadable("text")) { try row.get("text", as: Bool.self) }
    }
}
