import Foundation
import Storage

/// The `filter` of a list: conditions joined by `&&`, such as `status = "active" && email ~ "@example.org"`.
///
/// Operators: `=` `!=` `>` `>=` `<` `<=`, and `~` for "contains". A text is in double or single quotes; times are RFC
/// 3339 texts.
struct RecordFilter: Sendable {
    static let conditionsMax = 10
    static let bytesMax = 2000

    /// As it was given; empty when there is no filter.
    let text: String
    /// True for every record when there is no filter.
    let condition: SQL
    /// No earlier record passes.
    private(set) var createdFrom: Timestamp?

    /// Throws `validation_failed` saying what isn't understood.
    init(parsing text: String?) throws {
        self.text = text ?? ""
        guard let text, !text.isEmpty else {
            condition = "TRUE"
            return
        }
        guard text.utf8.count <= Self.bytesMax, !text.utf8.contains(0) else { throw Self.refusal("is too long") }
        var conditions: [SQL] = []
        var rest = text[...]
        repeat {
            let pattern = /\s*([a-z_]+)\s*(!=|>=|<=|=|>|<|~)\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_.:+-]+))\s*(&&|$)\s*/
            guard let match = rest.prefixMatch(of: pattern) else {
                throw Self.refusal("can't be read at “\(rest.prefix(40))”")
            }
            let value = match.3 ?? match.4 ?? match.5 ?? ""
            conditions.append(try Self.condition(String(match.1), String(match.2), String(value)))
            if match.1 == "created_at", match.2.hasPrefix(">"), let time = Timestamp(parsing: String(value)) {
                createdFrom = max(time, createdFrom ?? time)
            }
            rest = rest[match.range.upperBound...]
            guard match.6 == "&&" || rest.isEmpty else { throw Self.refusal("can't be read at “\(rest.prefix(40))”") }
            if match.6 == "&&" && rest.isEmpty { throw Self.refusal("ends in &&") }
        } while !rest.isEmpty
        guard conditions.count <= Self.conditionsMax else {
            throw Self.refusal("has more than \(Self.conditionsMax) conditions")
        }
        condition = SQL.join(conditions, by: " AND ")
    }

    private static func condition(_ name: String, _ sign: String, _ value: String) throws -> SQL {
        switch name {
        case "id": try compare("id", sign, value)
        case "kind": try compare("kind", sign, value)
        case "status": try compare("status", sign, value)
        // Folded columns: a filter finds what a sign-in would find.
        case "email": try compare("email_folded", sign, value.folded)
        case "username": try compare("username_folded", sign, value.folded)
        case "email_verified": try compare("email_verified", sign, flag: value)
        case "anonymous": try compare("anonymous", sign, flag: value)
        // A list begins there (``createdFrom``): the plus leaves the index to that.
        case "created_at" where sign.hasPrefix(">"): try compare("+created_at", sign, time: value)
        case "created_at": try compare("created_at", sign, time: value)
        case "updated_at": try compare("updated_at", sign, time: value)
        case "last_login_at": try compare("last_login_at", sign, time: value)
        default:
            throw refusal(
                "can't use \(name); there are id, kind, status, email, username, email_verified, anonymous, created_at, updated_at, last_login_at"
            )
        }
    }

    private static func compare(_ column: SQL, _ sign: String, _ value: String) throws -> SQL {
        guard sign == "~" else { return column + (try comparison(sign)) + "\(value)" }
        // SQLite's LIKE takes Ada for ada, PostgreSQL's doesn't; what is compared here is lower case on both.
        let pattern: String = "%" + value.folded.map { "%_\\".contains($0) ? "\\\($0)" : String($0) }.joined() + "%"
        return column + " LIKE \(pattern) ESCAPE '\\'"
    }

    private static func compare(_ column: SQL, _ sign: String, flag: String) throws -> SQL {
        guard ["true", "false"].contains(flag), ["=", "!="].contains(sign) else {
            throw refusal("compares a flag with = or != true or false")
        }
        return column + (try comparison(sign)) + "\(flag == "true")"
    }

    private static func compare(_ column: SQL, _ sign: String, time: String) throws -> SQL {
        guard let time = Timestamp(parsing: time) else { throw refusal("has a time that is not RFC 3339: \(time)") }
        return column + (try comparison(sign)) + "\(time)"
    }

    private static func comparison(_ sign: String) throws -> SQL {
        switch sign {
        case "=": " = "
        case "!=": " <> "
        case ">": " > "
        case ">=": " >= "
        case "<": " < "
        case "<=": " <= "
        default: throw refusal("can't use \(sign) here")
        }
    }

    private static func refusal(_ message: String) -> AuthError { AuthError.validation(["filter": message]) }
}
