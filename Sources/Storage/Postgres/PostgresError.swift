import CLibPQ

/// What a failed statement means for its transaction.
enum PostgresFailure: Sendable {
    /// Nothing was stored, and the same transaction may well succeed when it is run again (40001, 40P01).
    case conflict
    /// The connection is gone. Whether a commit that was under way was stored is unknown.
    case lost
}

/// An error report of the server.
///
/// Only its SQLSTATE, its primary message and the name of a constraint are taken: the detail holds values.
struct PostgresError {
    let sqlState: String
    let message: String
    let constraint: String?

    init(_ result: OpaquePointer?) {
        func field(_ code: UnicodeScalar) -> String? {
            PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
        }
        sqlState = field("C") ?? "?"
        message = field("M") ?? "no message"
        constraint = field("n")
    }

    func failure(of kind: TransactionKind) -> PostgresFailure? {
        switch sqlState {
        // 53200: no memory for the locks by which conflicts are found, until some transactions are over.
        case "40001", "40P01", "53200": .conflict
        // The server is being shut down, restarted, or has ended this connection.
        case "57P01", "57P02", "57P03", "57P05", "25P03": .lost
        // "Cached plan must not change result type": a newer node has added a column to a table that a statement prepared
        // here reads. A new connection prepares it anew.
        case "0A000": .lost
        // This server is a standby, maybe since a moment ago: another connection may reach the primary.
        case "25006": kind == .read ? nil : .lost
        default: sqlState.hasPrefix("08") ? .lost : nil
        }
    }

    /// For one that no repetition mends.
    var databaseError: DatabaseError {
        switch sqlState {
        case "23505": .unique(uniqueName)
        case "42501": .denied(message)
        // Statement and lock timeouts.
        case "57014", "55P03": .unavailable(message)
        // Damaged data or index pages, and a file that can't be read.
        case "XX001", "XX002", "58030":
            .damaged("\(message). The server's data are damaged: check its disk and its log, and restore a backup")
        // PostgreSQL quotes the offending value in its messages of this class.
        case _ where sqlState.hasPrefix("22"): .failed("\(sqlState): a value has the wrong form")
        case _ where sqlState.hasPrefix("23"): .constraint(message)
        // Resources, such as a full disk, and the system beneath.
        case _ where sqlState.hasPrefix("53") || sqlState.hasPrefix("58"): .unavailable(message)
        default: .failed("\(sqlState): \(message)")
        }
    }

    /// PostgreSQL names an unnamed constraint `users_email_key`; ours is `users_email`, as SQLite's is.
    private var uniqueName: String {
        guard let constraint else { return "" }
        return constraint.hasSuffix("_key") ? String(constraint.dropLast("_key".count)) : constraint
    }
}
