import Storage

/// The engines that every suite runs on.
enum Engine: String, CaseIterable, CustomStringConvertible, Sendable {
    case sqlite

    static let available = allCases

    var description: String { rawValue }

    /// A fresh, empty database.
    func open(in directory: String) async throws -> any Database {
        switch self {
        case .sqlite: try SQLiteDatabase(path: directory + "/latchkey.db")
        }
    }
}
