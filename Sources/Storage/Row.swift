/// One row of a result.
///
/// Columns are read by name and type.
package struct Row: Sendable {
    private let columns: [String]
    /// In the order of the columns.
    let values: [Value]

    package init(columns: [String], values: [Value]) {
        self.columns = columns
        self.values = values
    }

    /// The value of `column`; throws ``DatabaseError/unreadable(_:)`` when there is none of this type.
    package func get<T: SQLConvertible>(_ column: String, as type: T.Type = T.self) throws -> T {
        guard let index = columns.firstIndex(of: column), let value = T(sqlValue: values[index]) else {
            throw DatabaseError.unreadable(column)
        }
        return value
    }
}
