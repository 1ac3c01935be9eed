import Foundation
import OrderedCollections
import Testing

@testable import Auth

struct JSONTests {
    @Test func `what is written is read back the same, whatever it is`() {
        for seed in 0..<600 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let json = JSON.random(depth: 4, &random)
            let text = json.serialized
            guard let read = JSON(parsing: text) else {
                Issue.record("seed \(seed): not read: \(text)")
                continue
            }
            #expect(read == json, "seed \(seed)")
            // By bytes: Swift takes two spellings of é for the same text.
            #expect(Array(read.serialized.utf8) == Array(text.utf8), "seed \(seed)")
        }
    }

    /// Foundation's reader takes more than is JSON, and all that is.
    @Test func `what is read of spoilt texts, Foundation reads too`() {
        let noise = Array("{}[]\",:\\0123456789.eE+-truefalsn u\u{1}\u{80}".utf8)
        var accepted = 0
        for seed in 0..<3000 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            var bytes = Array(JSON.random(depth: 2, &random).serialized.utf8)
            for _ in 0..<Int.random(in: 1...2, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0 where bytes.count > 1: bytes.remove(at: index)
                case 1: bytes.insert(noise[Int.random(in: 0..<noise.count, using: &random)], at: index)
                default: bytes[index] = noise[Int.random(in: 0..<noise.count, using: &random)]
                }
            }
            guard JSON(parsing: bytes) != nil else { continue }
            accepted += 1
            let foundations = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            #expect(foundations != nil, "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
        }
        // Else the test would say nothing.
        #expect((500..<2500).contains(accepted))
    }

    @Test(
        arguments: [
            ("0", 0), ("-0", 0), ("-1", -1), ("42", 42), ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", .max),
            ("-9223372036854775808", .min),
        ] as [(String, Int64)]
    )
    func `a whole number is read exactly`(_ text: String, _ integer: Int64) {
        #expect(JSON(parsing: text) == .integer(integer))
        #expect(JSON(parsing: "[\(text),{\"a\":\(text)}]") == [.integer(integer), ["a": .integer(integer)]])
    }

    @Test(arguments: [
        ("1.5", 1.5), ("-0.25", -0.25), ("1.0", 1), ("-0.0", 0), ("1e2", 100), ("2.5E+1", 25), ("1E-2", 0.01),
        ("1e300", 1e300), ("0.1", 0.1),
        ("0e0", 0), ("5e-324", .leastNonzeroMagnitude), ("1.7976931348623157e308", .greatestFiniteMagnitude),
        ("9223372036854775808", 9_223_372_036_854_775_808), ("0.1000000000000000055511151231257827", 0.1),
        ("123456789012345678901234567890", 1.2345678901234568e29),
    ])
    func `any other number is read as the nearest double`(_ text: String, _ double: Double) {
        #expect(JSON(parsing: text)?.double == double)
        #expect(JSON(parsing: "{\"a\":\(text)}")?["a"]?.double == double)
    }

    @Test(arguments: [
        "01", "-01", "00", "1.", ".5", "+1", "1e", "1e+", "1.e1", "1e1.5", "0x10", "NaN", "Infinity", "-Infinity", "-",
        "--1", "1_000", "١", "1e400",
        "-1e400", "1f", "1l", "0b1", "- 1", "1 .5", String(repeating: "9", count: 400), "1e999999999999999999999",
    ])
    func `what is no number is refused`(_ text: String) {
        #expect(JSON(parsing: text) == nil)
        #expect(JSON(parsing: "[\(text)]") == nil)
        #expect(JSON(parsing: "{\"a\":\(text)}") == nil)
    }

    @Test func `numbers that JSON can not write become null`() {
        #expect(JSON.array([.number(.nan), .number(.infinity), .number(-.infinity)]).serialized == "[null,null,null]")
    }

    @Test(arguments: [
        (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u00e9\u20AC""#, "é€"), (#""\ud83d\ude00""#, "😀"),
        (#""\ud800\udc00""#, "\u{10000}"), (#""\uDBFF\uDFFF""#, "\u{10FFFF}"),
        (#""""#, ""),
        (#""\u0000""#, "\u{0}"), (#""\\u0000""#, "\\u0000"), ("\"\u{7F}\u{2028}/\"", "\u{7F}\u{2028}/"),
    ])
    func `escapes are read`(_ text: String, _ expected: String) {
        #expect(JSON(parsing: text)?.text.map { Array($0.utf8) } == Array(expected.utf8))
    }

    @Test(arguments: [
        #""\x41""#, #""\u12""#, #""\u12G4""#, #""\""#, #"""#, "'a'", "\"a\nb\"", "\"a\tb\"", "\"\u{0}\"", #""\U00e9""#,
    ])
    func `a text that is not JSON's is refused`(_ text: String) {
        #expect(JSON(parsing: text) == nil)
    }

    @Test(arguments: [
        #""\ud83d""#, #""\ude00""#, #""\ude00\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#,
        #""\ud83d\ud83d\ude00""#, #""\ud83d\u""#, #""\ud83d\ue000""#, #""\ud83d\uffff""#,
    ])
    func `half a surrogate pair is refused`(_ text: String) {
        #expect(JSON(parsing: text) == nil)
    }

    @Test func `control characters are written as escapes`() {
        for value in Array(0x00...0x1F) + [0x7F] as [UInt8] {
            let text = String(decoding: [value], as: UTF8.self)
            let written = JSON.object([MemberName(text): .string(text)]).serialized
            #expect(written.utf8.allSatisfy { (0x20..<0x7F).contains($0) }, "\(value)")
            #expect(JSON(parsing: written)?[text]?.text == text, "\(value)")
        }
        #expect(JSON.string("a\"b\\c\nd\u{1}é😀/").serialized == #""a\"b\\c\nd\u0001é😀/""#)
    }

    @Test(arguments: [
        "", " ", "nul", "True", "{", "}", "[", "]", "[1", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
        "{'a':1}",
        "{\"a\" 1}", "{1:2}", "[1 2]", "{}{}", "{} x", "[] ]", "1 2", "// c\n1", "/* c */ 1", "\u{A0}1", "undefined",
        "\"a\" \"b\"",
    ])
    func `what is not one JSON value is refused`(_ text: String) {
        #expect(JSON(parsing: text) == nil)
    }

    @Test func `white space around values is nothing`() {
        #expect(JSON(parsing: " \t\r\n{ \"a\" : [ 1 , true ] , \"b\" : null } \n") == ["a": [1, true], "b": .null])
    }

    @Test(
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xC3, 0x22],
            [0x22, 0xF5, 0x80, 0x80, 0x80, 0x22],
            [0x22, 0x80, 0x22], [0x22, 0xE2, 0x82, 0x22], [0x31, 0xFF], [0xFF, 0x31],
            Array("{\"".utf8) + [0xFF] + Array("\":1}".utf8),
        ] as [[UInt8]]
    )
    func `what is not UTF-8 is refused`(_ bytes: [UInt8]) {
        #expect(JSON(parsing: bytes) == nil)
    }

    @Test func `UTF-16 and UTF-32 are refused, with or without a byte order mark`() {
        for text in ["{\"a\":1}", "[1,2]", "\"ab\"", "12"] {
            let letters = Array(text.utf8)
            let (little, big): ([UInt8], [UInt8]) = (letters.flatMap { [$0, 0] }, letters.flatMap { [0, $0] })
            let (wide, wideBig): ([UInt8], [UInt8]) = (
                letters.flatMap { [$0, 0, 0, 0] }, letters.flatMap { [0, 0, 0, $0] }
            )
            let marked: [[UInt8]] = [
                [0xFF, 0xFE] + little, [0xFE, 0xFF] + big, [0xFF, 0xFE, 0, 0] + wide, [0, 0, 0xFE, 0xFF] + wideBig,
            ]
            for (index, bytes) in ([little, big, wide, wideBig] + marked).enumerated() {
                #expect(JSON(parsing: bytes) == nil, "\(text) in encoding \(index)")
            }
        }
    }

    @Test func `thirty-two levels are read and thirty-three are not`() {
        func nested(_ depth: Int, _ open: String, _ close: String, _ core: String) -> String {
            String(repeating: open, count: depth) + core + String(repeating: close, count: depth)
        }
        #expect(JSONBudget.outside.depthMax == 32)
        #expect(JSON(parsing: nested(JSONBudget.outside.depthMax, "[", "]", "")) != nil)
        #expect(JSON(parsing: nested(JSONBudget.outside.depthMax + 1, "[", "]", "")) == nil)
        #expect(JSON(parsing: nested(JSONBudget.outside.depthMax, "{\"a\":", "}", "1")) != nil)
        #expect(JSON(parsing: nested(JSONBudget.outside.depthMax + 1, "{\"a\":", "}", "1")) == nil)
        #expect(JSON(parsing: nested(JSONBudget.outside.depthMax / 2, "[{\"a\":", "}]", "1")) != nil)
        #expect(JSON(parsing: nested(JSONBudget.outside.depthMax / 2, "[{\"a\":", "}]", "[]")) == nil)
        #expect(JSON(parsing: nested(200_000, "[", "]", "")) == nil)
        #expect(JSON(parsing: String(repeating: "[", count: 1_000_000)) == nil)
        #expect(JSON(parsing: String(repeating: "{\"a\":", count: 200_000)) == nil)
    }

    @Test func `levels beside each other, and brackets in texts, are no depth`() {
        #expect(JSON(parsing: "[" + String(repeating: "[[]],", count: 100) + "[]]") != nil)
        let brackets = String(repeating: "[{", count: 100)
        #expect(JSON(parsing: "[\"\(brackets)\"]") == [.string(brackets)])
        #expect(JSON(parsing: "[\"\\\"\(brackets)\\\\\", 1]") == [.string("\"\(brackets)\\"), 1])
        let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
        #expect(JSON(parsing: "[\"\\\\\",\(deep)]") == nil)
        #expect(JSON(parsing: "[\"\\\"\",\(deep)]") == nil)
    }

    /// Two readers of one text must not see different values.
    @Test(arguments: [
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}", "{\"\u{E9}\":1,\"\\u00e9\":2}",
        "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}",
        "[{\"a\":{\"a\":1,\"a\":2}}]", "{\"\":1,\"\":2}",
    ])
    func `a member that is there twice is refused`(_ text: String) {
        #expect(JSON(parsing: text) == nil)
    }

    @Test func `names are compared as bytes`() throws {
        let json = try #require(JSON(parsing: "{\"\u{E9}\":1,\"e\u{301}\":2}"))
        #expect(json["\u{E9}"] == 1)
        #expect(json["e\u{301}"] == 2)
        #expect(json.serialized == "{\"\u{E9}\":1,\"e\u{301}\":2}")
    }

    @Test func `the same name in two objects is two members`() {
        #expect(
            JSON(parsing: "{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]},\"A\":3}") == [
                "a": ["a": [["a": 1], ["a": 2]]], "A": 3,
            ]
        )
    }

    @Test func `a NUL is found anywhere`() {
        #expect(JSON(parsing: #"{"a":["b",{"c":"d\u0000"}]}"#)?.containsNUL == true)
        #expect(JSON(parsing: #"{"a\u0000":1}"#)?.containsNUL == true)
        #expect(JSON(parsing: #"[[{"a":{"\u0000":null}}]]"#)?.containsNUL == true)
        #expect(JSON(parsing: #"{"a":["\\u0000","0",0,null,true,1.5]}"#)?.containsNUL == false)
    }

    @Test func `members keep their order, and merging does not replace`() {
        #expect(JSON(parsing: #"{"b":1,"a":2,"c":{"z":1,"y":2}}"#)?.serialized == #"{"b":1,"a":2,"c":{"z":1,"y":2}}"#)
        let json: JSON = ["b": 1, "a": [true, .null, "x"], "c": ["d": .number(0.5)]]
        #expect(json.serialized == #"{"b":1,"a":[true,null,"x"],"c":{"d":0.5}}"#)
        #expect(json["a"] == [true, .null, "x"])
        #expect(json["z"] == nil)
        #expect(json.merging(["z": 2, "b": 3]).serialized == #"{"b":1,"a":[true,null,"x"],"c":{"d":0.5},"z":2}"#)
        #expect(JSON.string("a").merging(["z": 2]) == "a")
        #expect(JSON.optional(nil) == .null)
        #expect(JSON.optional("a") == "a")
    }
}

extension JSON {
    /// Any value that has one spelling: a whole number is an integer.
    fileprivate static func random(depth: Int, _ random: inout SplitMix64) -> JSON {
        switch Int.random(in: 0..<(depth > 0 ? 9 : 6), using: &random) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &random))
        case 2:
            return .integer(Int64.random(in: .min ... .max, using: &random) >> Int64.random(in: 0..<64, using: &random))
        case 3:
            let number = Double(bitPattern: random.next())
            return .number(number.isFinite && !(number == number.rounded() && abs(number) < 0x1p53) ? number : 0.5)
        case 4, 5: return .string(text(&random))
        case 6:
            return .array(
                (0..<Int.random(in: 0..<5, using: &random)).map { _ in Self.random(depth: depth - 1, &random) }
            )
        default:
            var members: JSON.Members = [:]
            for _ in 0..<Int.random(in: 0..<5, using: &random) {
                members[text(&random)] = Self.random(depth: depth - 1, &random)
            }
            return .object(members)
        }
    }

    private static func text(_ random: inout SplitMix64) -> String {
        var text = String.UnicodeScalarView()
        let limits: [UInt32] = [0x20, 0x80, 0x800, 0x1_0000, 0x11_0000]
        for _ in 0..<Int.random(in: 0..<12, using: &random) {
            let limit = limits[Int.random(in: 0..<limits.count, using: &random)]
            // Surrogates are no scalars.
            text.append(Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) ?? "\"")
        }
        return String(text)
    }
}
