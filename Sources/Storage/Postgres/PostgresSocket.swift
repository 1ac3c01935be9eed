import CLibPQ
import Foundation

/// The calls of libpq, with deadlines: it never waits longer than told.
final class PostgresSocket {
    private static let sliceMilliseconds = 250

    private let connection: OpaquePointer
    private var isClosed = false

    /// Connects; blocks up to `connect_timeout`.
    ///
    /// Throws ``DatabaseError/unavailable(_:)``.
    init(connecting parameters: [(String, String)]) throws {
        let keywords = parameters.map { strdup($0.0) }
        let values = parameters.map { strdup($0.1) }
        defer { for text in keywords + values { free(text) } }
        let keywordPointers = keywords.map { $0.map { UnsafePointer($0) } } + [nil]
        let valuePointers = values.map { $0.map { UnsafePointer($0) } } + [nil]
        guard let connection = PQconnectdbParams(keywordPointers, valuePointers, 1) else {
            throw DatabaseError.unavailable("out of memory")
        }
        guard PQstatus(connection) == CONNECTION_OK else {
            let message = Self.message(of: connection)
            PQfinish(connection)
            throw DatabaseError.unavailable(message)
        }
        self.connection = connection
        // Notices would go to standard error otherwise.
        _ = PQsetNoticeProcessor(connection, { _, _ in }, nil)
    }

    deinit { close() }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        PQfinish(connection)
    }

    /// What asks the server to end the statement that runs on this connection; nil without memory.
    func cancel() -> PostgresCancel? { PQgetCancel(connection).map(PostgresCancel.init) }

    /// Such as 150_018 for 15.18.
    var serverVersion: Int { Int(PQserverVersion(connection)) }

    /// The server's process, as it said when the connection was made; a pooler says another number.
    var backendID: Int { Int(PQbackendPID(connection)) }

    func enterPipeline() throws {
        guard PQsetnonblocking(connection, 1) == 0, PQenterPipelineMode(connection) == 1 else { throw lost() }
    }

    // Sending

    func send(_ command: PostgresCommand) throws {
        let parameters = PostgresParameters(command.values)
        let isSent = parameters.withPointers { count, values, lengths, formats in
            PQsendQueryParams(connection, command.text, count, parameters.types, values, lengths, formats, 0)
        }
        guard isSent == 1 else { throw lost() }
    }

    func prepare(_ name: String, _ text: String, _ parameters: PostgresParameters) throws {
        let count = Int32(parameters.types.count)
        guard PQsendPrepare(connection, name, text, count, parameters.types) == 1 else { throw lost() }
    }

    func execute(_ name: String, _ parameters: PostgresParameters) throws {
        let isSent = parameters.withPointers { count, values, lengths, formats in
            PQsendQueryPrepared(connection, name, count, values, lengths, formats, 0)
        }
        guard isSent == 1 else { throw lost() }
    }

    /// What was sent since the last end succeeds or fails together.
    func endUnit(within milliseconds: Int?) throws {
        guard PQpipelineSync(connection) == 1 else { throw lost() }
        while true {
            switch PQflush(connection) {
            case 0: return
            case 1:
                guard try wait(POLLIN | POLLOUT, milliseconds: milliseconds) else { throw silent() }
                guard PQconsumeInput(connection) == 1 else { throw lost() }
            default: throw lost()
            }
        }
    }

    // Receiving

    /// The results of the oldest unit that was sent and not received.
    ///
    /// Of statements of which one failed, the results before it, and its error.
    ///
    /// Throws ``DatabaseError/unavailable(_:)`` for a lost connection.
    func receiveUnit(within milliseconds: Int?) throws -> (results: [PostgresResult], failed: PostgresError?) {
        var results: [PostgresResult] = []
        var failed: PostgresError?
        var isBetweenCommands = false
        while true {
            guard let result = try receive(within: milliseconds) else {
                // One nil stands between the results of two commands; two would mean that nothing is to come.
                guard !isBetweenCommands else { throw lost() }
                isBetweenCommands = true
                continue
            }
            isBetweenCommands = false
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_PIPELINE_SYNC: return (results, failed)
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK: results.append(Self.read(result))
            case PGRES_PIPELINE_ABORTED: break
            default:
                failed = failed ?? PostgresError(result)
                if PQstatus(connection) != CONNECTION_OK { throw lost() }
            }
        }
    }

    private func receive(within milliseconds: Int?) throws -> OpaquePointer? {
        var left = milliseconds
        while PQisBusy(connection) == 1 {
            if let left, left <= 0 { throw silent() }
            // In slices: TLS may have decrypted more than was asked for, of which the socket tells nothing.
            let slice = min(left ?? Self.sliceMilliseconds, Self.sliceMilliseconds)
            if try !wait(POLLIN, milliseconds: slice) { left = left.map { $0 - slice } }
            guard PQconsumeInput(connection) == 1 else { throw lost() }
        }
        let result = PQgetResult(connection)
        if result == nil && PQstatus(connection) != CONNECTION_OK { throw lost() }
        return result
    }

    /// Of a prepared statement's first run, the result of the preparation comes too; it has neither rows nor a tag.
    private static func read(_ result: OpaquePointer) -> PostgresResult {
        let columns = (0..<PQnfields(result)).map { String(cString: PQfname(result, $0)) }
        let types = (0..<PQnfields(result)).map { PQftype(result, $0) }
        let rows = (0..<PQntuples(result)).map { row in
            Row(
                columns: columns,
                values: types.indices.map { Value(result, row: row, column: Int32($0), type: types[$0]) }
            )
        }
        let changes = Int(String(cString: PQcmdTuples(result))) ?? 0
        return PostgresResult(rows: rows, changes: changes, tag: String(cString: PQcmdStatus(result)))
    }

    // Notifications

    /// Waits for the server to say something; false when it says nothing in time.
    func waitForInput(milliseconds: Int) throws -> Bool {
        guard try wait(POLLIN, milliseconds: milliseconds) else { return false }
        guard PQconsumeInput(connection) == 1 else { throw lost() }
        return true
    }

    /// What other sessions have told since the last call.
    func takeNotifications() -> [String] {
        var payloads: [String] = []
        while let notification = PQnotifies(connection) {
            payloads.append(String(cString: notification.pointee.extra))
            PQfreemem(notification)
        }
        return payloads
    }

    private func wait(_ events: Int32, milliseconds: Int?) throws -> Bool {
        var descriptor = pollfd(fd: PQsocket(connection), events: Int16(events), revents: 0)
        guard descriptor.fd >= 0 else { throw lost() }
        while true {
            let count = poll(&descriptor, 1, Int32(milliseconds ?? -1))
            if count >= 0 { return count > 0 }
            guard errno == EINTR else { throw lost() }
        }
    }

    private func lost() -> DatabaseError {
        .unavailable("the connection to the database is lost: \(Self.message(of: connection))")
    }

    private func silent() -> DatabaseError {
        .unavailable("the database does not answer")
    }

    private static func message(of connection: OpaquePointer) -> String {
        let text = String(cString: PQerrorMessage(connection))
        return text.split(separator: "\n").map { $0.drop(while: \.isWhitespace) }.joined(separator: " ")
    }
}

/// Asks the server to end a connection's statement, from any thread, by a short connection of its own.
///
/// A class, since it owns memory of libpq.
final class PostgresCancel: Sendable {
    private let address: UInt

    fileprivate init(_ cancel: OpaquePointer) {
        address = UInt(bitPattern: cancel)
    }

    deinit { PQfreeCancel(OpaquePointer(bitPattern: address)) }

    func request() {
        var message = [CChar](repeating: 0, count: 256)
        _ = PQcancel(OpaquePointer(bitPattern: address), &message, Int32(message.count))
    }
}
