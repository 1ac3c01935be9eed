import CCurl
import Foundation
import Synchronization

/// Runs requests with libcurl, all of them on one thread that never blocks on one of them.
///
/// A class, since it owns the thread, which starts with the first request and lives as long as the process.
final class OutboundTransfers: Sendable {
    static let shared = OutboundTransfers()

    /// At once: to one host, so that a slow one leaves others alone, and in all.
    static let perHostMax = 64
    static let countMax = 512

    private struct Job {
        let request: OutboundRequest
        let mayBePrivate: Bool
        let continuation: CheckedContinuation<OutboundAnswer, any Error>
    }

    private struct State {
        var waiting: [Job] = []
        var countByHost: [String: Int] = [:]
        var count = 0
        var isStarted = false
    }

    private let state = Mutex(State())
    /// Where libcurl's multi handle is: only the thread uses it, but for `curl_multi_wakeup`, which any thread may call.
    private let multiAddress = Curl.isPrepared ? Int(bitPattern: curl_multi_init()) : 0

    private var multi: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: multiAddress) }

    /// Throws ``OutboundFailure``, `overloaded`.
    func run(_ request: OutboundRequest, _ policy: OutboundPolicy) async throws -> OutboundAnswer {
        let (host, isNamed) = try policy.destination(request.url)
        guard request.headers.reveal().allSatisfy(\.isHeaderLine) else {
            throw OutboundFailure.unreachable("a header holds control characters")
        }
        try enter(host)
        defer { leave(host) }
        return try await withCheckedThrowingContinuation { continuation in
            let job = Job(request: request, mayBePrivate: isNamed, continuation: continuation)
            let mustStart = state.withLock { state in
                state.waiting.append(job)
                defer { state.isStarted = true }
                return !state.isStarted
            }
            if mustStart {
                let thread = Thread { self.work() }
                thread.name = "outbound"
                thread.start()
            }
            if let multi { curl_multi_wakeup(multi) }
        }
    }

    private func enter(_ host: String) throws {
        let isAdmitted = state.withLock { state in
            guard multiAddress != 0, state.count < Self.countMax, state.countByHost[host, default: 0] < Self.perHostMax
            else { return false }
            state.count += 1
            state.countByHost[host, default: 0] += 1
            return true
        }
        if !isAdmitted { throw AuthError(.overloaded, retryAfterSeconds: 2) }
    }

    private func leave(_ host: String) {
        state.withLock { state in
            state.count -= 1
            let left = state.countByHost[host, default: 1] - 1
            state.countByHost[host] = left > 0 ? left : nil
        }
    }

    private func work() {
        guard let multi else { return }
        var running: [UnsafeMutableRawPointer: OutboundTransfer] = [:]
        while true {
            let waiting = state.withLock { state in
                defer { state.waiting = [] }
                return state.waiting
            }
            for job in waiting {
                let transfer = OutboundTransfer(
                    job.request,
                    mayBePrivate: job.mayBePrivate,
                    job.continuation
                )
                guard let handle = transfer.prepare() else { continue }
                let outcome = curl_multi_add_handle(multi, handle)
                if outcome == CURLM_OK { running[handle] = transfer } else { transfer.finish(CURLE_FAILED_INIT) }
            }
            var count: Int32 = 0
            curl_multi_perform(multi, &count)
            var outcome = CURLE_OK
            while let handle = lk_curl_next_finished(multi, &outcome) {
                curl_multi_remove_handle(multi, handle)
                running.removeValue(forKey: handle)?.finish(outcome)
            }
            curl_multi_poll(multi, nil, 0, running.isEmpty ? 60_000 : 1000, nil)
        }
    }
}

/// One request under way.
///
/// A class, since libcurl calls back to it, on the thread of ``OutboundTransfers``.
private final class OutboundTransfer {
    private static let connectMilliseconds = 5000
    private static let headerBytesMax = 65_536

    private let request: OutboundRequest
    private let mayBePrivate: Bool
    private let continuation: CheckedContinuation<OutboundAnswer, any Error>
    private var handle: UnsafeMutableRawPointer?
    private var headers: UnsafeMutablePointer<curl_slist>?
    private let check = UnsafeMutablePointer<lk_address_check>.allocate(capacity: 1)
    private var body: [UInt8] = []
    private var headerBytes = 0
    private var isTooLarge = false
    private var isAddressRefused = false

    init(
        _ request: OutboundRequest,
        mayBePrivate: Bool,
        _ continuation: CheckedContinuation<OutboundAnswer, any Error>
    ) {
        self.request = request
        self.mayBePrivate = mayBePrivate
        self.continuation = continuation
    }

    deinit {
        if let handle { curl_easy_cleanup(handle) }
        curl_slist_free_all(headers)
        check.deallocate()
    }

    /// The handle to run; nil when there is none, and then it is finished.
    func prepare() -> UnsafeMutableRawPointer? {
        guard let curl = curl_easy_init() else {
            continuation.resume(throwing: OutboundFailure.unreachable("libcurl can't be used"))
            return nil
        }
        handle = curl
        _ = lk_curl_set_text(curl, CURLOPT_URL, request.url)
        _ = lk_curl_set_text(curl, CURLOPT_PROTOCOLS_STR, "http,https")
        _ = lk_curl_set_text(curl, CURLOPT_PROXY, "")
        _ = lk_curl_set_text(curl, CURLOPT_USERAGENT, "Latchkey/\(Version.text)")
        _ = lk_curl_set_number(curl, CURLOPT_NOSIGNAL, 1)
        // A look-up of a name that takes too long is left to its thread, not waited for with all the others.
        _ = lk_curl_set_number(curl, CURLOPT_QUICK_EXIT, 1)
        _ = lk_curl_set_number(curl, CURLOPT_FOLLOWLOCATION, 0)
        _ = lk_curl_set_number(curl, CURLOPT_CONNECTTIMEOUT_MS, Self.connectMilliseconds)
        _ = lk_curl_set_number(curl, CURLOPT_TIMEOUT_MS, OutboundClient.timeoutMilliseconds)
        _ = lk_curl_set_number(curl, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        // A connection is used again without a look at its address: only what any request may reach is kept.
        _ = lk_curl_set_number(curl, CURLOPT_FORBID_REUSE, mayBePrivate ? 1 : 0)
        headers = Curl.list(request.headers.reveal())
        _ = lk_curl_set_list(curl, CURLOPT_HTTPHEADER, headers)
        if let body = request.body {
            _ = lk_curl_set_text(curl, CURLOPT_COPYPOSTFIELDS, body.reveal())
        }
        let context = Unmanaged.passUnretained(self).toOpaque()
        check.initialize(
            to: lk_address_check(
                isAllowed: { context, bytes, length in
                    OutboundTransfer.of(context).admits(Array(UnsafeBufferPointer(start: bytes, count: Int(length))))
                        ? 1 : 0
                },
                context: context
            )
        )
        lk_curl_check_addresses(curl, check)
        lk_curl_receive(
            curl,
            { bytes, size, count, context in OutboundTransfer.of(context).receive(bytes, size * count) },
            { _, size, count, context in OutboundTransfer.of(context).receiveHeader(size * count) },
            context
        )
        return curl
    }

    func finish(_ outcome: CURLcode) {
        guard outcome == CURLE_OK, let handle else {
            return continuation.resume(throwing: failure(outcome))
        }
        continuation.resume(returning: OutboundAnswer(status: lk_curl_status(handle), body: body))
    }

    private func failure(_ outcome: CURLcode) -> OutboundFailure {
        if isTooLarge { return .tooLarge }
        if isAddressRefused { return .addressNotAllowed }
        if outcome == CURLE_OPERATION_TIMEDOUT { return .timedOut }
        return .unreachable(String(cString: curl_easy_strerror(outcome)))
    }

    private func admits(_ address: [UInt8]) -> Bool {
        if mayBePrivate || PublicAddress.holds(address) { return true }
        isAddressRefused = true
        return false
    }

    /// How many bytes were taken; another number ends the transfer.
    private func receive(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard body.count + count <= OutboundClient.bodyBytesMax else {
            isTooLarge = true
            return 0
        }
        body.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        return count
    }

    private func receiveHeader(_ count: Int) -> Int {
        headerBytes += count
        guard headerBytes <= Self.headerBytesMax else {
            isTooLarge = true
            return 0
        }
        return count
    }

    private static func of(_ context: UnsafeMutableRawPointer?) -> OutboundTransfer {
        guard let context else { preconditionFailure("libcurl calls back without its context") }
        return Unmanaged<OutboundTransfer>.fromOpaque(context).takeUnretainedValue()
    }
}

extension String {
    /// What can stand in a header as it is: visible ASCII and spaces.
    fileprivate var isHeaderLine: Bool { utf8.allSatisfy { (0x20...0x7E).contains($0) } }
}
