import Foundation

/// What stands in the header of a mail (RFC 5322): nothing in it can begin another line.
enum MailHeader {
    /// Bytes of text in an encoded word, which may have 75 characters (RFC 2047 §2).
    private static let wordBytesMax = 45

    /// Unstructured text: as it is when it is printable ASCII, else as encoded words (RFC 2047), line breaks and all.
    static func text(_ text: String) -> String {
        guard !text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) || text.contains("=?") else { return text }
        var words: [[UInt8]] = [[]]
        for character in text.unicodeScalars {
            let bytes = Array(String(character).utf8)
            if words[words.count - 1].count + bytes.count > wordBytesMax { words.append([]) }
            words[words.count - 1] += bytes
        }
        return words.map { "=?utf-8?B?\(Data($0).base64EncodedString())?=" }.joined(separator: " ")
    }

    /// RFC 5322 §3.3, in UTC.
    static func date(_ time: Timestamp) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(secondsFromGMT: 0)
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss '+0000'"
        return formatter.string(from: Date(timeIntervalSince1970: Double(time.seconds)))
    }
}

/// A sender: an address, with a name or without.
struct Mailbox: Sendable, Equatable {
    let name: String
    let address: EmailAddress

    /// `ada@example.org`, `Ada <ada@example.org>` or `"Ada" <ada@example.org>`; nil for anything else, line breaks above
    /// all.
    init?(parsing raw: String) {
        guard raw.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else { return nil }
        let text = raw.trimmed
        guard let open = text.lastIndex(of: "<") else {
            guard let address = EmailAddress(parsing: text) else { return nil }
            (name, self.address) = ("", address)
            return
        }
        guard text.hasSuffix(">"),
            let address = EmailAddress(parsing: String(text[text.index(after: open)...].dropLast()))
        else { return nil }
        var name = text[..<open].trimmed
        if name.count >= 2, name.hasPrefix("\""), name.hasSuffix("\"") { name = String(name.dropFirst().dropLast()) }
        guard !name.contains(where: { "<>\"\\".contains($0) }) else { return nil }
        (self.name, self.address) = (name, address)
    }

    /// As it stands in `From`.
    var header: String {
        guard !name.isEmpty else { return address.text }
        let isASCII = name.utf8.allSatisfy { (0x20...0x7E).contains($0) }
        return "\(isASCII ? "\"\(name)\"" : MailHeader.text(name)) <\(address.text)>"
    }
}
