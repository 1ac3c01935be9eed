/// A kind of text that comes from outside, with what it may be.
struct TextKind: Sendable {
    let bytesMax: Int
    /// Where the standards know nothing but ASCII.
    let isASCII: Bool

    /// The name of a member of a JSON object, of a form or of a query.
    static let memberName = TextKind(bytesMax: 128, isASCII: false)
    /// The value of a form or a query.
    static let formValue = TextKind(bytesMax: 8192, isASCII: false)
    /// A form as a whole, its escapes not yet decoded.
    static let form = TextKind(bytesMax: 1_048_576, isASCII: true)
    /// One segment of a path, its escapes decoded.
    static let pathSegment = TextKind(bytesMax: 8192, isASCII: false)
    /// The whole of a request's target, its escapes not yet decoded.
    static let target = TextKind(bytesMax: 8192, isASCII: true)
    /// The value of a header that the server looks at.
    static let headerValue = TextKind(bytesMax: 8192, isASCII: true)
    /// The reply of a mail server, kept to be shown.
    static let mailReply = TextKind(bytesMax: 300, isASCII: true)
    /// An option of the command line, the environment or `latchkey.json`.
    static let option = TextKind(bytesMax: 8192, isASCII: false)
    /// What an operator keeps in a file of a key.
    static let keyFile = TextKind(bytesMax: 8192, isASCII: true)
}

/// The one place where bytes from outside become text.
///
/// Swift compares, hashes and splits texts by canonical equivalence, and sorts each run of combining marks for it, in
/// quadratic time: 128 KB of them cost 22 seconds. What passed the gate is short enough for its kind and in Stream-Safe
/// Text Format, so that whatever is done with it afterwards takes linear time.
enum TextGate {
    /// Nil for bytes that are too many, not UTF-8, not ASCII where only ASCII may be, or not stream-safe.
    static func text(_ bytes: some Swift.Collection<UInt8>, as kind: TextKind) -> String? {
        guard bytes.count <= kind.bytesMax else { return nil }
        if kind.isASCII { return bytes.allSatisfy { $0 < 0x80 } ? String(decoding: bytes, as: UTF8.self) : nil }
        guard let text = String(validating: bytes, as: UTF8.self), StreamSafeText.holds(text) else { return nil }
        return text
    }

    /// The text when it may be of that kind; for what a library has made a `String` of already.
    static func text(_ text: String, as kind: TextKind) -> String? {
        guard text.utf8.count <= kind.bytesMax else { return nil }
        guard kind.isASCII else { return StreamSafeText.holds(text) ? text : nil }
        var text = text
        return text.withUTF8 { bytes in bytes.allSatisfy { $0 < 0x80 } } ? text : nil
    }

    /// The beginning of a text that is only kept to be shown: what isn't printable ASCII becomes a question mark.
    static func shown(_ bytes: some Sequence<UInt8>, bytesMax: Int) -> String {
        String(decoding: bytes.prefix(bytesMax).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }
}

/// Stream-Safe Text Format (UAX #15 §13): no more than 30 non-starters, as combining marks are called there, in a row.
enum StreamSafeText {
    static let nonStartersMax = 30

    static func holds(_ text: String) -> Bool {
        // Nothing below U+0300 combines, nor does anything that one byte or two up to 0xCB begin.
        guard text.utf8.contains(where: { $0 >= 0xCC }) else { return true }
        var run = 0
        for scalar in text.unicodeScalars {
            let nonStarters = nonStarters(of: scalar)
            run = nonStarters == 0 ? 0 : run + nonStarters
            if run > nonStartersMax { return false }
        }
        return true
    }

    private static func nonStarters(of scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case 0..<0x300: 0
        // These come apart into two of them, although three of the four say that they are starters themselves.
        case 0x344, 0xF73, 0xF75, 0xF81: 2
        default: scalar.properties.canonicalCombiningClass == .notReordered ? 0 : 1
        }
    }
}
