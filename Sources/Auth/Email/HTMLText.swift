/// What is left to read of an HTML mail without its tags; a link keeps its address.
///
/// One pass over the text, so that the work grows with its length alone.
struct HTMLText {
    private var text = ""
    private var rest: Substring
    /// The address of the link that is open, and where its words begin.
    private var link: (address: String, start: String.Index)?

    static func read(_ html: String) -> String {
        var reader = HTMLText(rest: html[...])
        while let open = reader.rest.firstIndex(of: "<") {
            reader.take(reader.rest[..<open])
            reader.rest = reader.rest[open...].dropFirst()
            reader.readTag()
        }
        reader.take(reader.rest)
        let lines = reader.text.split(separator: "\n", omittingEmptySubsequences: false).map(\.trimmed)
        return lines.joined(separator: "\n").replacing(/\n{3,}/, with: "\n\n").trimmed + "\n"
    }

    private init(rest: Substring) {
        self.rest = rest
    }

    private mutating func readTag() {
        guard !rest.hasPrefix("!--") else { return skip(past: "-->") }
        let tag = rest.prefix { $0 != ">" }
        rest = rest[tag.endIndex...].dropFirst()
        let slash = tag.hasPrefix("/") ? "/" : ""
        switch slash + tag.dropFirst(slash.count).prefix(while: { $0.isLetter || $0.isNumber }).lowercased() {
        case "style": skip(past: "</style>")
        case "script": skip(past: "</script>")
        case "head": skip(past: "</head>")
        case "br", "hr", "/tr", "/li", "/h1", "/h2", "/h3", "/h4", "/h5", "/h6", "/dt", "/dd": text += "\n"
        case "/p", "/div", "/table", "/ul", "/ol", "/dl", "/blockquote", "/section", "/article", "/pre": text += "\n\n"
        case "a": link = Self.address(in: tag).map { ($0, text.endIndex) }
        case "/a": closeLink()
        default: break
        }
    }

    private mutating func closeLink() {
        guard let (address, start) = link else { return }
        link = nil
        if text[start...].trimmed != address { text += " (\(address))" }
    }

    /// Goes on behind the next such text, in any case, or stops at the end.
    private mutating func skip(past end: String) {
        while let first = end.first, let open = rest.firstIndex(of: first) {
            rest = rest[open...]
            if rest.prefix(end.count).lowercased() == end {
                rest = rest.dropFirst(end.count)
                return
            }
            rest = rest.dropFirst()
        }
        rest = ""
    }

    private static func address(in tag: Substring) -> String? {
        let pattern = /(?i)\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/
        guard let match = tag.firstMatch(of: pattern) else { return nil }
        return decoded(match.1 ?? match.2 ?? match.3 ?? "")
    }

    /// Appends words; white space between them is one space.
    private mutating func take(_ words: Substring) {
        for character in Self.decoded(words) {
            let isSpace = character.isWhitespace
            if isSpace && (text.last?.isWhitespace ?? true) { continue }
            text.append(isSpace ? " " : character)
        }
    }

    /// With the references to characters that mails use.
    private static func decoded(_ text: Substring) -> String {
        var decoded = ""
        var rest = text
        while let start = rest.firstIndex(of: "&") {
            decoded += rest[..<start]
            rest = rest[start...]
            let name = rest.dropFirst().prefix(10).prefix { $0 != ";" }
            if let character = character(named: name), rest[name.endIndex...].first == ";" {
                decoded.append(character)
                rest = rest[name.endIndex...].dropFirst()
            } else {
                decoded.append("&")
                rest = rest.dropFirst()
            }
        }
        return decoded + rest
    }

    private static func character(named name: Substring) -> Character? {
        if name.hasPrefix("#") {
            let digits = name.dropFirst()
            let isHex = digits.hasPrefix("x") || digits.hasPrefix("X")
            let code = isHex ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
            return code.flatMap(Unicode.Scalar.init).map(Character.init)
        }
        return named[String(name)]
    }

    private static let named: [String: Character] = [
        "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": " ", "copy": "©", "reg": "®", "trade": "™",
        "mdash": "—", "ndash": "–", "hellip": "…", "lsquo": "‘", "rsquo": "’", "ldquo": "“", "rdquo": "”", "laquo": "«",
        "raquo": "»", "bull": "•", "middot": "·", "euro": "€", "auml": "ä", "ouml": "ö", "uuml": "ü", "Auml": "Ä",
        "Ouml": "Ö", "Uuml": "Ü", "szlig": "ß", "eacute": "é", "egrave": "è", "agrave": "à", "ccedil": "ç",
        "ntilde": "ñ",
    ]
}
