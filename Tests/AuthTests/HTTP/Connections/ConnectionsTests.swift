import NIOCore
import NIOEmbedded
import Testing

@testable import Auth

struct ConnectionsTests {
    private let loop = EmbeddedEventLoop()

    private func connection(_ address: String = "a") throws -> (Connection, EmbeddedChannel) {
        let channel = EmbeddedChannel(loop: loop)
        try channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 1)).wait()
        return (Connection(address: address, channel: channel), channel)
    }

    private func note(_ connection: Connection, isServing: Bool, at seconds: Int64) {
        let now = NIODeadline.uptimeNanoseconds(UInt64(seconds) * 1_000_000_000)
        var state = ConnectionState(.standard, at: now)
        if isServing { state.headEnded(isLast: false, at: now) }
        connection.note(state, at: now)
    }

    @Test func `when there is no place, the connection that has been idle for the longest time gives way`() throws {
        let connections = Connections(caps: ConnectionCaps(total: 3, perAddress: 100))
        let open = try (0..<3).map { _ in try connection() }
        for (index, (connection, _)) in open.enumerated() {
            #expect(connections.admit(connection, isCounted: true))
            note(connection, isServing: index == 0, at: Int64(10 - index))
        }
        let (next, channel) = try connection()
        #expect(connections.admit(next, isCounted: true))
        loop.run()
        // The first serves a request, the third has been idle longer than the second.
        #expect(open.map { $0.1.isActive } == [true, true, false])
        #expect(channel.isActive)
        #expect(connections.count == 3)
    }

    @Test func `a connection that serves a request never gives way`() throws {
        let connections = Connections(caps: ConnectionCaps(total: 2, perAddress: 100))
        for _ in 0..<2 {
            let (connection, _) = try connection()
            #expect(connections.admit(connection, isCounted: true))
            note(connection, isServing: true, at: 1)
        }
        #expect(try !connections.admit(connection().0, isCounted: true))
        #expect(connections.count == 2)
    }

    @Test func `an address that has all its places takes them from itself alone`() throws {
        let connections = Connections(caps: ConnectionCaps(total: 100, perAddress: 2))
        let (other, otherChannel) = try connection("other")
        #expect(connections.admit(other, isCounted: true))
        note(other, isServing: false, at: 1)
        let own = try (0..<2).map { _ in try connection("own") }
        for (index, (connection, _)) in own.enumerated() {
            #expect(connections.admit(connection, isCounted: true))
            note(connection, isServing: false, at: Int64(5 + index))
        }
        #expect(try connections.admit(connection("own").0, isCounted: true))
        loop.run()
        #expect(otherChannel.isActive)
        #expect(!own[0].1.isActive)
        // Those of a trusted proxy come from many clients.
        #expect(try connections.admit(connection("own").0, isCounted: false))
        #expect(connections.count == 4)
    }

    @Test func `a closed connection leaves its place, once`() throws {
        let connections = Connections(caps: ConnectionCaps(total: 2, perAddress: 2))
        let pair = try (0..<2).map { _ in try connection().0 }
        for connection in pair {
            #expect(connections.admit(connection, isCounted: true))
            note(connection, isServing: true, at: 1)
        }
        for _ in 0..<3 { connections.remove(pair[0]) }
        #expect(connections.count == 1)
        let next = try connection().0
        #expect(connections.admit(next, isCounted: true))
        note(next, isServing: true, at: 1)
        #expect(try !connections.admit(connection().0, isCounted: true))
    }
}
