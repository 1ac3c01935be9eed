/// Whether an address is one that the whole internet reaches alike: what a request to somebody else's server may go to.
///
/// Everything else, such as this machine, its network and a cloud's metadata service, could be made to do something by a
/// request that comes from inside (server-side request forgery). After the special-purpose registries of IANA (RFC 6890).
enum PublicAddress {
    /// `bytes` are the four of an IPv4 address or the sixteen of an IPv6 one.
    static func holds(_ bytes: [UInt8]) -> Bool {
        if let inner = embeddedIPv4(bytes) { return holds(inner) }
        return switch bytes.count {
        case 4: !reserved.contains { $0.contains(bytes) }
        case 16: global.contains(bytes) && !reserved.contains { $0.contains(bytes) }
        default: false
        }
    }

    /// Of an address that is an IPv4 one in other clothes: mapped (`::ffff:0:0/96`), or reached by way of NAT64
    /// (`64:ff9b::/96`).
    private static func embeddedIPv4(_ bytes: [UInt8]) -> [UInt8]? {
        guard bytes.count == 16 else { return nil }
        let prefix = Array(bytes.prefix(12))
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
        let translated: [UInt8] = [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]
        return prefix == mapped || prefix == translated ? Array(bytes.suffix(4)) : nil
    }

    private static let global = range("2000::/3")

    private static let reserved = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
        // Protocol assignments with Teredo, documentation, and 6to4, which hides an IPv4 address.
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].map(range)

    /// Of a text that is written here.
    private static func range(_ text: String) -> AddressRange {
        guard let range = AddressRange(parsing: text) else { preconditionFailure("not a range: \(text)") }
        return range
    }
}
