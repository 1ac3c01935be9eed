import DequeModule
import Foundation
import HTTPTypes
import OrderedCollections
import Synchronization

/// One JSON line a request on standard output, written by a thread of its own: a request never waits for the disk.
///
/// What it holds is decided here: no query, no body, no header but the user agent, no credential. A class, since it
/// gathers lines.
final class RequestLog: Sendable {
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

    /// The last lines that admins can search, if they fit: some 400 bytes each.
    static let recentMax = 5000
    /// Of a path and of a cause; the rest is cut off.
    static let textBytesMax = 1024
    /// What they can be searched by.
    static let searchable = [
        "request_id", "method", "route", "path", "status", "ip", "user", "session", "api_key", "auth_impersonated_by",
        "code",
    ]

    private let lines: LineWriter
    private let isOn: Bool
    private let keptBytesMax: Int
    private let kept = Mutex((lines: Deque<[UInt8]>(), bytes: 0))

    init(_ lines: LineWriter, isOn: Bool, keptBytesMax: Int) {
        self.lines = lines
        self.isOn = isOn
        self.keptBytesMax = keptBytesMax
    }

    func note(_ entry: Entry, at now: Timestamp) {
        let isFailure = entry.status >= 500
        guard isOn || isFailure else { return }
        var line = JSONLine()
        line.add("time", now.rfc3339)
        line.add("level", isFailure ? "error" : "info")
        line.add("message", "request")
        line.add("request_id", entry.id)
        line.add("method", entry.method.rawValue)
        line.add("route", entry.route)
        line.add("path", Self.cut(entry.path))
        line.add("status", entry.status)
        line.add("us", Int(entry.duration.microseconds))
        line.add("ip", entry.client.address)
        if let agent = entry.client.userAgent { line.add("user_agent", agent) }
        if let principal = entry.principal {
            line.add("user", principal.user.id.rawValue)
            if let session = principal.session { line.add("session", session.id.rawValue) }
            if let admin = principal.impersonator { line.add("auth_impersonated_by", admin.rawValue) }
            if let key = principal.apiKey { line.add("api_key", key.id.rawValue) }
        }
        if let error = entry.error {
            line.add("code", error.code.rawValue)
            if isFailure, let cause = error.cause { line.add("cause", Self.cut(String(describing: cause))) }
        }
        let bytes = line.bytes
        lines.write(bytes)
        kept.withLock { kept in
            kept.lines.append(bytes)
            kept.bytes += bytes.count
            while kept.lines.count > Self.recentMax || kept.bytes > keptBytesMax, let first = kept.lines.popFirst() {
                kept.bytes -= first.count
            }
        }
    }

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > textBytesMax else { return text }
        return String(decoding: text.utf8.prefix(textBytesMax), as: UTF8.self) + "…"
    }

    /// The last lines of this process that have these members, the newest first.
    func recent(with wanted: [String: String]) -> [JSON] {
        let lines = kept.withLock { Array($0.lines) }
        return lines.reversed().compactMap { JSON(parsing: $0, within: .stored) }.filter { line in
            wanted.allSatisfy { key, text in
                if case .integer(let number)? = line[key] { String(number) == text } else { line[key]?.text == text }
            }
        }
    }
}

/// A JSON object on a line, written member by member: every request makes one, so it builds no values in between.
struct JSONLine: Sendable {
    private var members: [UInt8] = [UInt8(ascii: "{")]

    init() {
        members.reserveCapacity(512)
    }

    mutating func add(_ key: StaticString, _ text: String) {
        addKey(key)
        JSON.write(text, to: &members)
    }

    mutating func add(_ key: StaticString, _ number: Int) {
        addKey(key)
        members.append(contentsOf: number.description.utf8)
    }

    private mutating func addKey(_ key: StaticString) {
        if members.count > 1 { members.append(UInt8(ascii: ",")) }
        members.append(UInt8(ascii: "\""))
        key.withUTF8Buffer { members.append(contentsOf: $0) }
        members.append(contentsOf: [UInt8(ascii: "\""), UInt8(ascii: ":")])
    }

    /// With the line's end.
    var bytes: [UInt8] { members + [UInt8(ascii: "}"), 0x0A] }
}

extension Duration {
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}

/// Writes lines to a file descriptor from a thread of its own.
///
/// A class, since it owns a buffer and a thread.
final class LineWriter: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var dropped = 0
    }

    private let state = Mutex(State())
    private let wakeUp = DispatchSemaphore(value: 0)
    private let file: FileHandle
    private let bytesMax: Int

    /// Lines beyond `bytesMax` are dropped and counted, so that a stuck terminal can't fill the memory.
    init(to file: FileHandle, bytesMax: Int) {
        self.file = file
        self.bytesMax = bytesMax
        let thread = Thread { self.work() }
        thread.name = "log"
        thread.start()
    }

    func write(_ line: [UInt8]) {
        let isFirst = state.withLock { state in
            guard state.bytes.count < bytesMax else {
                state.dropped += 1
                return false
            }
            let isFirst = state.bytes.isEmpty
            state.bytes.append(contentsOf: line)
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
            return state.bytes
                + Array("{\"level\":\"warning\",\"message\":\"\(state.dropped) log lines were dropped\"}\n".utf8)
        }
    }
}
