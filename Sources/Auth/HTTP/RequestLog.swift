import Foundation
import HTTPTypes
import OrderedCollections
import Synchronization

/// One JSON line a request on standard output, written by a thread of its own: a request never waits for the disk.
///
/// What it holds is decided here: no query, no body, no header but the user agent, no credential. A class, since it gathers
/// lines.
final class RequestLog: Sendable {
    /// Lines beyond are dropped and counted, so that a stuck terminal can't fill the memory.
    static let bytesMax = 8 << 20

    struct Entry: Sendable {
        let id: String
        let method: HTTPRequest.Method
        let route: String
        let path: String
        let status: Int
        let duration: Duration
        let client: Client
        let principal: Principal?
        let error: AuthError?
    }

    private let lines: LineWriter
    private let isOn: Bool

    init(_ lines: LineWriter, isOn: Bool) {
        self.lines = lines
        self.isOn = isOn
    }

    func note(_ entry: Entry, at now: Timestamp) {
        let isFailure = entry.status >= 500
        guard isOn || isFailure else { return }
        var json: JSON = [
            "time": now.json, "level": isFailure ? "error" : "info", "message": "request", "request_id": .string(entry.id),
            "method": .string(entry.method.rawValue), "route": .string(entry.route), "path": .string(entry.path),
            "status": .integer(Int64(entry.status)), "ms": .number(entry.duration.milliseconds), "ip": .string(entry.client.address),
            "user_agent": .optional(entry.client.userAgent),
        ]
        if let principal = entry.principal {
            json = json.merging(["user": .string(principal.user.id.rawValue), "session": .string(principal.session.id.rawValue)])
        }
        if let error = entry.error {
            json = json.merging(["code": .string(error.code.rawValue)])
            if isFailure, let cause = error.cause { json = json.merging(["cause": .string(String(describing: cause))]) }
        }
        lines.write(json)
    }
}

extension Duration {
    /// With three decimals.
    var milliseconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds * 1_000_000 + attoseconds / 1_000_000_000_000) / 1000
    }
}

/// Writes lines to a file descriptor from a thread of its own. A class, since it owns a buffer and a thread.
final class LineWriter: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var dropped = 0
    }

    private let state = Mutex(State())
    private let wakeUp = DispatchSemaphore(value: 0)
    private let file: FileHandle

    init(to file: FileHandle) {
        self.file = file
        let thread = Thread { self.work() }
        thread.name = "log"
        thread.start()
    }

    func write(_ json: JSON) {
        let isFirst = state.withLock { state in
            guard state.bytes.count < RequestLog.bytesMax else {
                state.dropped += 1
                return false
            }
            let isFirst = state.bytes.isEmpty
            json.write(to: &state.bytes)
            state.bytes.append(0x0A)
            return isFirst
        }
        if isFirst { wakeUp.signal() }
    }

    /// Writes what is there, before the process ends.
    func flush() {
        try? file.write(contentsOf: take())
    }

    private func work() -> Never {
        while true {
            wakeUp.wait()
            // Lines that come together are written together.
            Thread.sleep(forTimeInterval: 0.02)
            try? file.write(contentsOf: take())
        }
    }

    private func take() -> [UInt8] {
        state.withLock { state in
            defer {
                state.bytes.removeAll(keepingCapacity: state.bytes.count < 1 << 20)
                state.dropped = 0
            }
            guard state.dropped > 0 else { return state.bytes }
            return state.bytes + Array("{\"level\":\"warning\",\"message\":\"\(state.dropped) log lines were dropped\"}\n".utf8)
        }
    }
}
