import Testing

@testable import Auth

struct CollectionNameTests {
    @Test(arguments: ["a", "users", "Users_2", "u1", "mE", "me2", "session", String(repeating: "a", count: 63)])
    func `letters, digits and underscores, beginning with a letter, make a name`(_ text: String) {
        #expect(Collection.isName(text))
    }

    @Test(arguments: [
        "", "_users", "_admins", "1users", "a b", "a-b", "a.b", "a/b", "a%b", "ü", "aü", "a\u{0}", "a\n", "a\u{301}",
        "\u{212A}", "a\u{212A}", "aİ", "１",
        "a１", "me", "refresh", "logout", "sessions", "file-token", String(repeating: "a", count: 64),
    ])
    func `anything else is none`(_ text: String) {
        #expect(!Collection.isName(text))
    }

    @Test func `options are changed one by one`() throws {
        let standard = Collection.Options()
        #expect(standard.json == ["registration": true, "additional_fields": true, "mfa_required": false])
        let closed = try standard.changed(by: ["registration": false])
        #expect(!closed.registration && closed.additionalFields)
        let both = try closed.changed(by: ["additional_fields": false])
        #expect(!both.registration && !both.additionalFields)
        #expect(try both.changed(by: [:]) == both)
        #expect(try standard.changed(by: both.json) == both)
    }

    @Test(
        arguments: [
            ([] as JSON, "options", "must be an object"), (.null, "options", "must be an object"),
            (["registration": 1], "options.registration", "must be true or false"),
            (["registration": .null], "options.registration", "must be true or false"),
            (
                ["signup": true], "options.signup",
                "is not an option; there are registration, additional_fields, mfa_required"
            ),
        ] as [(JSON, String, String)]
    )
    func `an option that is none is refused at its place`(_ json: JSON, _ place: String, _ message: String) {
        let error = #expect(throws: FieldSchema.Invalid.self) { try Collection.Options().changed(by: json) }
        #expect(error?.details == [place: message])
    }

    @Test func `a collection is found by name and by id`() throws {
        let time = Timestamp(milliseconds: 0)
        let ids = (0..<2).map { _ in CollectionID(at: time, random: .system) }
        let collections = zip(ids, ["_admins", "users"]).map { id, name in
            Collection(id: id, name: name, schema: .empty, options: .init(), createdAt: time, updatedAt: time)
        }
        let index = CollectionIndex(collections)
        #expect(index["users"]?.id == ids[1])
        #expect(index[ids[1].rawValue]?.name == "users")
        #expect(index[id: ids[0]]?.isAdmins == true)
        #expect(index["users"]?.isAdmins == false)
        #expect(index["Users"] == nil)
        #expect(index[""] == nil)
        #expect(index[CollectionID(at: time, random: .system).rawValue] == nil)
    }
}
