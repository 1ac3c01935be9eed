import Testing

@testable import Auth

struct FieldSchemaTests {
    private func problem(with text: String) -> [String: String]? {
        guard let json = JSON(parsing: text) else { return ["test": "not JSON: \(text)"] }
        do {
            _ = try FieldSchema(json: json)
            return nil
        } catch {
            return (error as? FieldSchema.Invalid)?.details ?? ["another error": "\(error)"]
        }
    }

    @Test func `a definition is read with its constraints, and told back the same`() throws {
        let definition: JSON = [
            ["name": "email", "type": "email", "min": 5, "max": 64],
            ["name": "username", "type": "text", "pattern": "^[a-z]+$"],
            [
                "name": "nick_2", "type": "text", "required": true, "min": 0, "max": 20, "unique": true,
                "identifying": true,
            ],
            ["name": "age", "type": "number", "min": .number(0.5), "max": 130],
            ["name": "terms", "type": "bool", "required": true],
            ["name": "site", "type": "url", "pattern": "example"],
            ["name": "born", "type": "date", "min": "1900-01-01", "unique": true],
            ["name": "color", "type": "select", "values": ["red", "green"], "unique": true],
            ["name": "tags", "type": "select", "values": ["a", "b", "c"], "multiple": true, "min": 1, "max": 2],
            ["name": "extra", "type": "json", "max": 100],
        ]
        let schema = try FieldSchema(json: definition)
        #expect(
            schema.fields.map(\.name) == [
                "email", "username", "nick_2", "age", "terms", "site", "born", "color", "tags", "extra",
            ]
        )
        #expect(schema.own.map(\.name) == ["nick_2", "age", "terms", "site", "born", "color", "tags", "extra"])
        let nick = try #require(schema["nick_2"])
        #expect(nick.type == .text && nick.isRequired && nick.isUnique && nick.isIdentifying && !nick.isMultiple)
        #expect(nick.min == 0 && nick.max == 20 && nick.pattern == nil && nick.values.isEmpty)
        #expect(schema["tags"]?.isMultiple == true)
        #expect(schema["color"]?.values == ["red", "green"])
        #expect(schema["missing"] == nil)
        #expect(try FieldSchema(json: schema.json) == schema)
        #expect(try FieldSchema(json: try #require(JSON(parsing: schema.json.serialized))) == schema)
    }

    @Test func `what is not said, or null, is the default`() throws {
        let text =
            #"[{"name":"a","type":"text","required":null,"min":null,"max":null,"pattern":null,"values":null,"unique":null}]"#
        let schema = try FieldSchema(json: try #require(JSON(parsing: text)))
        #expect(try FieldSchema(json: [["name": "a", "type": "text"]]) == schema)
        let field = try #require(schema["a"])
        #expect(
            !field.isRequired && !field.isUnique && !field.isMultiple && !field.isIdentifying && field.min == nil
                && field.max == nil
        )
        #expect(try FieldSchema(json: []) == .empty)
    }

    @Test func `there are at most a hundred fields`() throws {
        func fields(_ count: Int) -> JSON { .array((0..<count).map { ["name": .string("f\($0)"), "type": "text"] }) }
        #expect(try FieldSchema(json: fields(100)).fields.count == 100)
        #expect(problem(with: fields(101).serialized) == ["fields": "must be at most 100 fields"])
    }

    @Test(arguments: ["{}", "null", "\"a\"", "1", "true"])
    func `fields are a list`(_ text: String) {
        #expect(problem(with: text) == ["fields": "must be a list"])
    }

    @Test(arguments: ["[1]", "[null]", "[[]]", "[\"a\"]"])
    func `a field is an object`(_ text: String) {
        #expect(problem(with: text) == ["fields[0]": "must be an object"])
    }

    @Test(arguments: [
        "null", "1", "\"\"", "\"1a\"", "\"_a\"", "\"a b\"", "\"a-b\"", "\"a.b\"", "\"é\"", "\"a\\u0000\"", "\"a\\n\"",
        "\"a'\"", "\"\u{212A}\"",
        "\"a\u{301}\"", "\"\(String(repeating: "a", count: 65))\"",
    ])
    func `a name has 1 to 64 letters, digits or underscores`(_ name: String) {
        let expected = ["fields[1].name": "must be 1 to 64 letters, digits or _, beginning with a letter"]
        #expect(problem(with: "[{\"name\":\"ok\",\"type\":\"text\"},{\"name\":\(name),\"type\":\"text\"}]") == expected)
    }

    @Test func `the longest name is accepted`() {
        #expect(problem(with: "[{\"name\":\"\(String(repeating: "a", count: 64))\",\"type\":\"text\"}]") == nil)
    }

    @Test(arguments: User.reservedKeys.sorted())
    func `what belongs to the server can not be a field`(_ name: String) {
        #expect(problem(with: "[{\"name\":\"\(name)\",\"type\":\"text\"}]") == ["fields[0].name": "is reserved"])
    }

    @Test func `a name is used once`() {
        let text = #"[{"name":"a","type":"text"},{"name":"b","type":"text"},{"name":"a","type":"bool"}]"#
        #expect(problem(with: text) == ["fields[2].name": "is used twice"])
    }

    @Test(arguments: [
        (#""type":"string""#, "type", "must be one of: text, number, bool, email, url, date, select, json"),
        (#""type":null"#, "type", "must be one of: text, number, bool, email, url, date, select, json"),
        (#""type":"Text""#, "type", "must be one of: text, number, bool, email, url, date, select, json"),
        (#""type":"text","required":"true""#, "required", "must be true or false"),
        (#""type":"text","required":1"#, "required", "must be true or false"),
        (#""type":"text","unique":"yes""#, "unique", "must be true or false"),
        (#""type":"text","identifying":0"#, "identifying", "must be true or false"),
        (#""type":"select","values":["a"],"multiple":2"#, "multiple", "must be true or false"),
        (#""type":"text","min":-1"#, "min", "must be a whole number, 0 or more"),
        (#""type":"text","min":1.5"#, "min", "must be a whole number, 0 or more"),
        (#""type":"email","max":"5""#, "max", "must be a whole number, 0 or more"),
        (#""type":"url","max":true"#, "max", "must be a whole number, 0 or more"),
        (#""type":"json","max":-5"#, "max", "must be a whole number, 0 or more"),
        (#""type":"select","values":["a"],"min":"1""#, "min", "must be a whole number, 0 or more"),
        (#""type":"number","min":"1""#, "min", "must be a number"),
        (#""type":"number","max":[]"#, "max", "must be a number"),
        (#""type":"date","min":20260131"#, "min", "must be a date such as 2026-01-31"),
        (#""type":"date","max":"31.1.2026""#, "max", "must be a date such as 2026-01-31"),
        (#""type":"date","max":"2026-02-30""#, "max", "must be a date such as 2026-01-31"),
        (#""type":"bool","min":0"#, "min", "has no meaning for a bool"),
        (#""type":"bool","max":true"#, "max", "has no meaning for a bool"),
        (#""type":"text","pattern":"[""#, "pattern", "must be a regular expression in RE2 syntax: missing ]: ["),
        (
            #""type":"text","pattern":"(a)\\1""#, "pattern",
            "must be a regular expression in RE2 syntax: invalid escape sequence: \\1"
        ),
        (
            #""type":"text","pattern":"(?=a)b""#, "pattern",
            "must be a regular expression in RE2 syntax: invalid perl operator: (?="
        ),
        (#""type":"text","pattern":5"#, "pattern", "must be a regular expression of at most 500 bytes"),
        (#""type":"number","pattern":"^1$""#, "pattern", "belongs to a text, email or url"),
        (#""type":"select","values":["a"],"pattern":"a""#, "pattern", "belongs to a text, email or url"),
        (#""type":"select""#, "values", "must be there for a select, and only for one"),
        (#""type":"select","values":[]"#, "values", "must be there for a select, and only for one"),
        (#""type":"text","values":["a"]"#, "values", "must be there for a select, and only for one"),
        (#""type":"select","values":"a""#, "values", "must be a list of at most 200 different texts"),
        (#""type":"select","values":["a",1]"#, "values", "must be a list of at most 200 different texts"),
        (#""type":"select","values":["a","b","a"]"#, "values", "must be a list of at most 200 different texts"),
        (#""type":"text","multiple":true"#, "multiple", "belongs to a select"),
        (#""type":"json","unique":true"#, "unique", "can't be asked of a json, a bool or a multiple select"),
        (#""type":"bool","unique":true"#, "unique", "can't be asked of a json, a bool or a multiple select"),
        (
            #""type":"select","values":["a"],"multiple":true,"unique":true"#, "unique",
            "can't be asked of a json, a bool or a multiple select"
        ),
        (#""type":"text","min":5,"max":4"#, "max", "must not be less than min"),
        (#""type":"number","min":0.5,"max":0"#, "max", "must not be less than min"),
        (#""type":"date","min":"2026-01-02","max":"2026-01-01""#, "max", "must not be less than min"),
        (#""type":"text","default":"x""#, "default", "is not a member of a field"),
        (#""type":"text","Required":true"#, "Required", "is not a member of a field"),
    ])
    func `a definition that can not be is refused at its place`(_ members: String, _ place: String, _ message: String) {
        #expect(problem(with: "[{\"name\":\"a\",\(members)}]") == ["fields[0].\(place)": message])
    }

    @Test func `a pattern has at most 500 bytes and a select at most 200 choices`() {
        func pattern(_ count: Int) -> String {
            "[{\"name\":\"a\",\"type\":\"text\",\"pattern\":\"\(String(repeating: "a", count: count))\"}]"
        }
        #expect(problem(with: pattern(500)) == nil)
        #expect(
            problem(with: pattern(501)) == ["fields[0].pattern": "must be a regular expression of at most 500 bytes"]
        )
        func select(_ count: Int) -> String {
            let values = (0..<count).map { "\"\($0)\"" }.joined(separator: ",")
            return "[{\"name\":\"a\",\"type\":\"select\",\"values\":[\(values)]}]"
        }
        #expect(problem(with: select(200)) == nil)
        #expect(problem(with: select(201)) == ["fields[0].values": "must be a list of at most 200 different texts"])
    }

    @Test(arguments: FieldType.allCases)
    func `the implicit fields keep their types`(_ type: FieldType) {
        let values = type == .select ? ",\"values\":[\"a\"]" : ""
        let email = problem(with: "[{\"name\":\"email\",\"type\":\"\(type.rawValue)\"\(values)}]")
        #expect(email == (type == .email ? nil : ["fields[0].type": "must be email"]))
        let username = problem(with: "[{\"name\":\"username\",\"type\":\"\(type.rawValue)\"\(values)}]")
        #expect(username == (type == .text ? nil : ["fields[0].type": "must be text"]))
    }
}
