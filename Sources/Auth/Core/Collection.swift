import OrderedCollections
import Storage

/// A set of accounts with its own fields and rules.
///
/// `_admins` is built in and holds the admins.
struct Collection: Sendable {
    static let adminsName = "_admins"

    let id: CollectionID
    let name: String
    let schema: FieldSchema
    let options: Options
    let createdAt: Timestamp
    let updatedAt: Timestamp
    var state = State.ready

    enum State: String, Sendable, SQLConvertible {
        case ready
        /// A field has become unique: new values are compared already, those of before are being looked at.
        case building
        /// Gone for everybody; what belongs to it is being removed.
        case deleting
    }

    var isAdmins: Bool { name == Self.adminsName }

    struct Options: Sendable, Equatable {
        /// Anybody may create an account by `/register`.
        var registration = true
        /// Keys that no field describes are kept in the record, as seed 002 has it; otherwise they are refused.
        var additionalFields = true
        /// Its users must have a second factor.
        var mfaRequired = false

        var json: JSON {
            [
                "registration": .bool(registration), "additional_fields": .bool(additionalFields),
                "mfa_required": .bool(mfaRequired),
            ]
        }

        /// With the options that are given.
        ///
        /// Throws ``FieldSchema/Invalid`` naming one that can't be.
        func changed(by json: JSON) throws -> Options {
            guard case .object(let members) = json else { throw FieldSchema.Invalid("options", "must be an object") }
            var options = self
            for (key, value) in members {
                guard case .bool(let flag) = value else {
                    throw FieldSchema.Invalid("options.\(key)", "must be true or false")
                }
                switch key {
                case "registration": options.registration = flag
                case "additional_fields": options.additionalFields = flag
                case "mfa_required": options.mfaRequired = flag
                default:
                    throw FieldSchema.Invalid(
                        "options.\(key)",
                        "is not an option; there are registration, additional_fields, mfa_required"
                    )
                }
            }
            return options
        }
    }

    /// Segments that routes use where a collection's name stands.
    private static let reservedNames: Set<String> = ["me", "refresh", "logout", "sessions", "file-token"]

    /// Letters, digits and `_`, beginning with a letter, at most 63.
    static func isName(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count) && text.first.map { $0.isASCII && $0.isLetter } == true
            && !reservedNames.contains(text)
            && text.utf8.allSatisfy { byte in
                byte == UInt8(ascii: "_")
                    || (byte < 128
                        && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber))
            }
    }

    var json: JSON {
        [
            "id": .string(id.rawValue), "name": .string(name), "type": "auth", "fields": schema.json,
            "options": options.json, "state": .string(state.rawValue),
            "built_in": .bool(isAdmins), "created_at": createdAt.json, "updated_at": updatedAt.json,
        ]
    }
}
