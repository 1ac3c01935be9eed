import NIOCore
import Testing

@testable import Auth

/// The deadlines of a connection, with time as an argument.
struct ConnectionStateTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let limits = ConnectionLimits.standard
    private var state: ConnectionState

    init() {
        state = ConnectionState(limits, at: start)
    }

    private func at(_ seconds: Double) -> NIODeadline { start + .milliseconds(Int64(seconds * 1000)) }

    private func isOver(_ seconds: Double) -> Bool { state.verdict(at: at(seconds)) == .close }

    @Test func `a connection that sends nothing is closed after 75 seconds`() {
        #expect(state.isEvictable)
        #expect(!isOver(74.9))
        #expect(isOver(75))
    }

    @Test mutating func `a head must be complete 10 seconds after its first byte, however often bytes come`() {
        state.received(5, at: at(60))
        #expect(!isOver(69.9))
        for second in 61...69 { state.received(1, at: at(Double(second))) }
        #expect(isOver(70))
        #expect(state.isEvictable)
        #expect(state.headBytes == 14)
    }

    @Test mutating func `a body has 10 seconds, and then must come at 1 KiB a second`() {
        state.received(100, at: at(0))
        state.headEnded(isLast: false, at: at(1))
        #expect(!state.isEvictable)
        #expect(!isOver(10.9))
        #expect(isOver(11))
        state.bodyReceived(20 * 1024)
        #expect(!isOver(30.9))
        #expect(isOver(31))
    }

    @Test mutating func `a request must be complete after 60 seconds, however fast it comes`() {
        state.received(100, at: at(5))
        state.headEnded(isLast: false, at: at(6))
        state.bodyReceived(1_000_000)
        #expect(!isOver(64.9))
        #expect(isOver(65))
    }

    @Test mutating func `while an answer is owed the client has all the time there is`() {
        state.received(100, at: at(0))
        state.headEnded(isLast: false, at: at(0))
        state.requestEnded(at: at(0))
        #expect(!isOver(1000))
        #expect(!state.isEvictable)
        let mustClose = state.answerEnded(at: at(1000))
        #expect(!mustClose)
        #expect(!isOver(1074))
        #expect(isOver(1075))
        #expect(state.isEvictable)
    }

    @Test mutating func `an answer to a body that has not come closes the connection, after a while for its reader`() {
        state.received(100, at: at(0))
        state.headEnded(isLast: false, at: at(0))
        state.bodyReceived(10)
        let mustClose = state.answerEnded(at: at(3))
        #expect(mustClose)
        #expect(state.phase == .lingering)
        #expect(!isOver(4.9))
        #expect(isOver(5))
    }

    @Test mutating func `requests sent ahead are answered one by one`() {
        state.received(500, at: at(0))
        for _ in 0..<3 {
            state.headEnded(isLast: false, at: at(0))
            state.requestEnded(at: at(0))
        }
        for answer in 1...3 {
            let mustClose = state.answerEnded(at: at(Double(answer)))
            #expect(!mustClose)
            #expect(state.phase == (answer == 3 ? .idle : .answering))
        }
    }

    @Test mutating func `a head that is sent ahead is counted, and has its deadline from the answer on`() {
        state.received(100, at: at(0))
        state.headEnded(isLast: false, at: at(0))
        state.requestEnded(at: at(0))
        state.received(30_000, at: at(1))
        state.received(30_000, at: at(2))
        #expect(state.headBytes == 60_000)
        let mustClose = state.answerEnded(at: at(3))
        #expect(!mustClose)
        #expect(state.phase == .head)
        #expect(!isOver(12.9))
        #expect(isOver(13))
    }

    @Test mutating func `a body that is sent ahead has its deadlines from the answer before it on`() {
        state.received(200, at: at(0))
        state.headEnded(isLast: false, at: at(0))
        state.requestEnded(at: at(0))
        state.headEnded(isLast: false, at: at(0))
        state.bodyReceived(1)
        _ = state.answerEnded(at: at(20))
        #expect(state.phase == .body)
        #expect(!isOver(29.9))
        #expect(isOver(30))
    }
}
