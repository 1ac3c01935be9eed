/// A statement.
///
/// Interpolated values are bound, never pasted: only what is written in the source is SQL.
///
/// ```swift
/// let query: SQL = "SELECT id FROM users WHERE email = \(email) AND created_at > \(time)"
/// // SELECT id FROM users WHERE email = $1 AND created_at > $2
/// ```
///
/// A literal is a `StaticString`, so a run-time string can't become SQL text. Another `SQL` may be interpolated as a
/// part, with its own bindings.
package struct SQL: Sendable, ExpressibleByStringInterpolation {
    fileprivate enum Part: Sendable {
        case text(StaticString)
        case binding(Value)
    }

    private var parts: [Part] = []

    package init(stringLiteral text: StaticString) {
        parts = [.text(text)]
    }

    package init(stringInterpolation: Interpolation) {
        parts = stringInterpolation.parts
    }

    private init(parts: [Part]) {
        self.parts = parts
    }

    package static func + (left: SQL, right: SQL) -> SQL {
        SQL(parts: left.parts + right.parts)
    }

    /// The parts, with `separator` between each two.
    package static func join(_ pieces: [SQL], by separator: SQL) -> SQL {
        guard var joined = pieces.first else { return "" }
        for piece in pieces.dropFirst() { joined = joined + separator + piece }
        return joined
    }

    /// The text with `$1…$n` in ascending order, and the values they stand for.
    package func render() -> (text: String, values: [Value]) {
        var text = ""
        var values: [Value] = []
        for part in parts {
            switch part {
            case .text(let literal):
                text += literal.description
            case .binding(let value):
                values.append(value)
                text += "$\(values.count)"
            }
        }
        return (text, values)
    }

    package struct Interpolation: StringInterpolationProtocol {
        fileprivate var parts: [Part] = []

        package init(literalCapacity: Int, interpolationCount: Int) {
            parts.reserveCapacity(interpolationCount * 2 + 1)
        }

        package mutating func appendLiteral(_ literal: StaticString) {
            parts.append(.text(literal))
        }

        package mutating func appendInterpolation(_ value: some SQLConvertible) {
            parts.append(.binding(value.sqlValue))
        }

        /// Nil is NULL.
        package mutating func appendInterpolation<T: SQLConvertible>(_ value: T?) {
            parts.append(.binding(value.sqlValue))
        }

        package mutating func appendInterpolation(_ fragment: SQL) {
            parts.append(contentsOf: fragment.parts)
        }
    }
}
