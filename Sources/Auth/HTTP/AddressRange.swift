import Foundation
import NIOCore

/// A range of network addresses, such as `10.0.0.0/8`, `::1` or `fd00::/8`.
struct AddressRange: Sendable, Equatable {
    private let bytes: [UInt8]
    private let prefixBits: Int

    init?(parsing text: String) {
        let halves = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let bytes = Self.bytes(of: String(halves[0])) else { return nil }
        let bits = halves.count > 1 ? Int(halves[1]) : bytes.count * 8
        guard let bits, (0...bytes.count * 8).contains(bits) else { return nil }
        self.bytes = bytes
        prefixBits = bits
    }

    /// A comma-separated list; nil when one part can't be read.
    static func list(parsing text: String) -> [AddressRange]? {
        let parts = text.split(separator: ",").map(\.trimmed).filter { !$0.isEmpty }
        let ranges = parts.compactMap(AddressRange.init)
        return ranges.count == parts.count ? ranges : nil
    }

    func contains(_ address: String) -> Bool { Self.bytes(of: address).map(contains) ?? false }

    /// Four or sixteen bytes.
    func contains(_ other: [UInt8]) -> Bool {
        guard other.count == bytes.count else { return false }
        return (0..<prefixBits).allSatisfy { bit in
            let mask = UInt8(0x80) >> UInt8(bit % 8)
            return bytes[bit / 8] & mask == other[bit / 8] & mask
        }
    }

    /// What limits count by: an IPv4 address, or the first 64 bits of an IPv6 one, which one subscriber has all of.
    static func limitKey(_ address: String) -> String {
        guard let bytes = bytes(of: address) else { return address }
        return Hex.encode(bytes.count == 16 ? bytes.prefix(8) : bytes[...])
    }

    /// Four or sixteen bytes; an IPv4 address in IPv6 clothes (`::ffff:1.2.3.4`) is that IPv4 address.
    static func bytes(of text: String) -> [UInt8]? {
        guard !text.contains("%"), let address = try? SocketAddress(ipAddress: text, port: 0) else { return nil }
        switch address {
        case .v4(let v4): return withUnsafeBytes(of: v4.address.sin_addr) { Array($0) }
        case .v6(let v6):
            let bytes = withUnsafeBytes(of: v6.address.sin6_addr) { Array($0) }
            let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
            return isMapped ? Array(bytes.suffix(4)) : bytes
        case .unixDomainSocket: return nil
        }
    }
}

/// The address of whoever sent a request.
enum ClientAddress {
    /// The socket's, unless that is a trusted proxy: then the last address of `X-Forwarded-For` that isn't one.
    ///
    /// What a client wrote there itself stands further left and counts for nothing.
    static func resolve(socket: String, forwardedFor: [String], trusted: [AddressRange]) -> String {
        guard !trusted.isEmpty, trusted.contains(where: { $0.contains(socket) }) else { return socket }
        let hops = forwardedFor.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false).map(\.trimmed) }
        for hop in hops.reversed() {
            guard (try? SocketAddress(ipAddress: hop, port: 0)) != nil else { return socket }
            if !trusted.contains(where: { $0.contains(hop) }) { return hop }
        }
        return socket
    }
}
