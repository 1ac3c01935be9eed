import OrderedCollections
import Storage

/// The details of an audit row, which are at most ``bytesMax`` bytes of JSON whatever they are made of.
///
/// Texts and lists are cut. A list that was cut is followed by the number of its elements that are missing, and a member for
/// which there is no room is replaced by `"cut": true`.
struct AuditDetails: Sendable, ExpressibleByDictionaryLiteral {
    static let bytesMax = 1024
    /// Of a text as it stands in the JSON, escapes included.
    static let textBytesMax = 256
    /// Of an element of a list.
    static let elementBytesMax = 64
    static let listBytesMax = 512
    static let nameBytesMax = 40

    enum Detail: Sendable, ExpressibleByStringLiteral, ExpressibleByBooleanLiteral {
        case string(String)
        case integer(Int64)
        case bool(Bool)
        case list([String])
        case null

        init(stringLiteral text: String) { self = .string(text) }
        init(booleanLiteral flag: Bool) { self = .bool(flag) }

        /// Nil becomes null.
        static func optional(_ text: String?) -> Detail { text.map(Detail.string) ?? .null }
    }

    private var members: [(name: String, detail: Detail)]

    init(dictionaryLiteral members: (String, Detail)...) {
        self.members = members.map { (name: $0.0, detail: $0.1) }
    }

    /// With a member in front, where there is always room for it.
    func with(_ name: String, _ detail: Detail) -> AuditDetails {
        var details = self
        details.members.insert((name, detail), at: 0)
        return details
    }

    /// As it is stored.
    var serialized: String {
        let cut = "\"cut\":true"
        var parts: [String] = []
        // The braces, and the mark with its comma.
        var room = Self.bytesMax - 2 - cut.utf8.count - 1
        for member in members {
            let part = Self.part(member.name, member.detail)
            guard part.utf8.count + 1 <= room else {
                parts.append(cut)
                break
            }
            room -= part.utf8.count + 1
            parts.append(part)
        }
        return "{" + parts.joined(separator: ",") + "}"
    }

    /// The name and the detail, and how many elements of a list were left out.
    private static func part(_ name: String, _ detail: Detail) -> String {
        let label = quoted(name, bytesMax: nameBytesMax)
        switch detail {
        case .null: return label + ":null"
        case .integer(let integer): return label + ":\(integer)"
        case .bool(let flag): return label + ":\(flag)"
        case .string(let text): return label + ":" + quoted(text, bytesMax: textBytesMax)
        case .list(let elements):
            var kept: [String] = []
            var room = listBytesMax
            for element in elements {
                let text = quoted(element, bytesMax: elementBytesMax)
                guard text.utf8.count + 1 <= room else { break }
                room -= text.utf8.count + 1
                kept.append(text)
            }
            let list = label + ":[" + kept.joined(separator: ",") + "]"
            guard kept.count < elements.count else { return list }
            return list + "," + quoted(name + "_left_out", bytesMax: nameBytesMax + 12)
                + ":\(elements.count - kept.count)"
        }
    }

    /// A JSON string of at most so many bytes, quotes and escapes included; a cut one ends in an ellipsis.
    private static func quoted(_ text: String, bytesMax: Int) -> String {
        var bytes: [UInt8] = []
        // Escapes only lengthen: what is beyond the limit can't come in, and is not looked at.
        var prefix = Substring(text).unicodeScalars.prefix(bytesMax)
        let isWhole = prefix.endIndex == text.unicodeScalars.endIndex
        JSON.write(String(prefix), to: &bytes)
        if isWhole && bytes.count <= bytesMax { return String(decoding: bytes, as: UTF8.self) }
        while bytes.count > bytesMax - 3 {
            prefix = prefix.dropLast(max(1, (bytes.count - bytesMax) / 6))
            bytes.removeAll(keepingCapacity: true)
            JSON.write(String(prefix), to: &bytes)
        }
        return String(decoding: bytes.dropLast(), as: UTF8.self) + "…\""
    }
}
