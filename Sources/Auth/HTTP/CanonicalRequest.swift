/// The one form of a request's target that everything decides by: routing, limits, authorization, the log.
///
/// Percent-escapes are decoded once, empty and dot segments removed, the version and the `/users` alias resolved. So no
/// spelling of a path reaches another decision than its plain form.
struct CanonicalRequest: Sendable {
    let segments: [String]
    private let queryText: Substring

    /// Of a query or a form.
    static let pairsMax = 1000

    /// Throws `malformed` for what isn't a path.
    init(target: String) throws {
        guard let target = TextGate.text(target, as: .target) else {
            throw AuthError(
                .malformed,
                "The request's target is longer than \(TextKind.target.bytesMax) bytes, or not ASCII. Percent-encode it."
            )
        }
        let halves = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var segments: [String] = []
        for raw in Self.withoutOrigin(halves.first ?? "").split(separator: "/") {
            guard let segment = Self.decode(raw, as: .pathSegment, plusIsSpace: false) else {
                throw AuthError(.malformed, "The path can't be read.")
            }
            switch segment {
            case "", ".": break
            case "..": _ = segments.popLast()
            default: segments.append(segment)
            }
        }
        if segments.first == "users" { segments.insert("api", at: 0) }
        if segments.count > 1, segments[0] == "api", segments[1] == "v1" { segments.remove(at: 1) }
        self.segments = segments
        queryText = halves.count > 1 ? halves[1] : ""
    }

    /// The query's pairs, read apart from the path, so that who can't be understood is answered as the route answers.
    ///
    /// Throws `malformed`.
    func query() throws -> [String: String] { try Self.pairs(queryText) }

    var path: String { "/" + segments.joined(separator: "/") }

    /// A proxy may send the absolute form (RFC 9112 §3.2.2); its host decides nothing here.
    private static func withoutOrigin(_ target: Substring) -> Substring {
        guard !target.hasPrefix("/"), let scheme = target.firstRange(of: "://") else { return target }
        return target[scheme.upperBound...].drop { $0 != "/" }
    }

    /// The pairs of a query or a form (`application/x-www-form-urlencoded`).
    ///
    /// Throws `malformed`.
    static func pairs(_ text: Substring) throws -> [String: String] {
        var pairs: [String: String] = [:]
        for pair in text.split(separator: "&") {
            guard pairs.count < pairsMax else {
                throw AuthError(.malformed, "The query or form has more than \(pairsMax) parts.")
            }
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let key = decode(halves[0], as: .memberName, plusIsSpace: true),
                let value = decode(halves.count > 1 ? halves[1] : "", as: .formValue, plusIsSpace: true)
            else { throw AuthError(.malformed, "The query or form can't be read.") }
            // The first one counts; a second can't replace what was decided by it.
            if pairs[key] == nil { pairs[key] = value }
        }
        return pairs
    }

    /// Nil for broken escapes, NUL and what the text gate refuses.
    private static func decode(_ text: Substring, as kind: TextKind, plusIsSpace: Bool) -> String? {
        let needsDecoding = { (byte: UInt8) in byte == UInt8(ascii: "%") || byte == UInt8(ascii: "+") || byte == 0 }
        guard text.utf8.contains(where: needsDecoding) else { return TextGate.text(String(text), as: kind) }
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(Hex.anyCaseValue),
                    let low = rest.popFirst().flatMap(Hex.anyCaseValue)
                else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return bytes.contains(0) ? nil : TextGate.text(bytes, as: kind)
    }
}
