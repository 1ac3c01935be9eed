/// One value as both engines know it.
///
/// Times are integers (milliseconds since 1970), flags are booleans, JSON is text.
package enum Value: Sendable, Hashable {
    case null
    case text(String)
    case integer(Int64)
    case bool(Bool)
    case blob([UInt8])
}

/// A type that can be bound into a statement and read from a row.
package protocol SQLConvertible: Sendable {
    var sqlValue: Value { get }

    /// Nil when the column holds something else; reading then throws ``DatabaseError/unreadable(_:)``.
    init?(sqlValue: Value)
}

extension String: SQLConvertible {
    package var sqlValue: Value { .text(self) }

    package init?(sqlValue: Value) {
        guard case .text(let text) = sqlValue else { return nil }
        self = text
    }
}

extension Int64: SQLConvertible {
    package var sqlValue: Value { .integer(self) }

    package init?(sqlValue: Value) {
        guard case .integer(let integer) = sqlValue else { return nil }
        self = integer
    }
}

extension Int: SQLConvertible {
    package var sqlValue: Value { .integer(Int64(self)) }

    package init?(sqlValue: Value) {
        guard case .integer(let integer) = sqlValue else { return nil }
        self.init(exactly: integer)
    }
}

extension Bool: SQLConvertible {
    package var sqlValue: Value { .bool(self) }

    /// SQLite has no boolean type: it stores 0 and 1.
    package init?(sqlValue: Value) {
        switch sqlValue {
        case .bool(let flag): self = flag
        case .integer(0): self = false
        case .integer(1): self = true
        case .integer, .null, .text, .blob: return nil
        }
    }
}

extension [UInt8]: SQLConvertible {
    package var sqlValue: Value { .blob(self) }

    package init?(sqlValue: Value) {
        guard case .blob(let bytes) = sqlValue else { return nil }
        self = bytes
    }
}

extension Optional: SQLConvertible where Wrapped: SQLConvertible {
    package var sqlValue: Value { self?.sqlValue ?? .null }

    package init?(sqlValue: Value) {
        if case .null = sqlValue {
            self = .none
        } else if let value = Wrapped(sqlValue: sqlValue) {
            self = value
        } else {
            return nil
        }
    }
}

extension SQLConvertible where Self: RawRepresentable, RawValue == String {
    package var sqlValue: Value { .text(rawValue) }

    package init?(sqlValue: Value) {
        guard case .text(let text) = sqlValue else { return nil }
        self.init(rawValue: text)
    }
}
