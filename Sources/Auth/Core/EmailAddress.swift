import Foundation
import Storage

/// An email address as its owner wrote it, with the folded form that decides uniqueness.
///
/// Accepted: one `@`, a local part of at most 64 bytes without spaces, quotes or control characters, and a domain of
/// dot-separated labels (letters of any script, digits, hyphens). RFC 5321's quoted local parts and address literals,
/// and encoded words, are refused: nobody signs up with them, and mail header injection likes them.
struct EmailAddress: Hashable, Sendable {
    static let bytesMax = 254
    static let localBytesMax = 64

    let text: String

    /// Before anything is composed, which can shorten a text to a third.
    static let rawBytesMax = 3 * bytesMax

    init?(parsing raw: String) {
        guard raw.utf8.count <= Self.rawBytesMax else { return nil }
        let text = raw.precomposedStringWithCanonicalMapping
        // U+212A, the Kelvin sign, would become a K: another mailbox than the one that was named.
        guard text.utf8.count <= Self.bytesMax, !raw.unicodeScalars.contains(where: Self.isASCIIInDisguise) else {
            return nil
        }
        // Scalar by scalar: a combining mark behind a sign would hide it from a comparison of characters.
        let halves = text.unicodeScalars.split(separator: "@", omittingEmptySubsequences: false)
        guard halves.count == 2, Self.isLocalPart(halves[0]), Self.isDomain(halves[1]) else { return nil }
        self.text = text
    }

    /// Lower case; two addresses with the same folded text are one address.
    var folded: String { text.folded }

    private static func isLocalPart(_ text: Substring.UnicodeScalarView) -> Bool {
        // An encoded word (RFC 2047) is one name to us and another to mail software that decodes it.
        guard String(text).utf8.count <= localBytesMax, !Self.isEncoded(String(text)) else { return false }
        let atoms = text.split(separator: ".", omittingEmptySubsequences: false)
        return atoms.allSatisfy { atom in
            guard let first = atom.first, !first.isMark else { return false }
            return atom.allSatisfy { scalar in
                !scalar.properties.isWhitespace && !scalar.isUnprintable
                    && !"\"(),:;<>[\\]".unicodeScalars.contains(scalar)
            }
        }
    }

    private static func isASCIIInDisguise(_ scalar: Unicode.Scalar) -> Bool {
        !scalar.isASCII && String(scalar).precomposedStringWithCanonicalMapping.utf8.allSatisfy { $0 < 0x80 }
    }

    private static func isEncoded(_ text: String) -> Bool { text.contains("=?") && text.contains("?=") }

    private static func isDomain(_ text: Substring.UnicodeScalarView) -> Bool {
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        return labels.allSatisfy { label in
            guard let first = label.first, !first.isMark, first != "-", label.last != "-",
                String(label).utf8.count <= 63
            else {
                return false
            }
            return label.allSatisfy { $0.isWordPart || $0 == "-" }
        }
    }
}

/// An optional second name to sign in with: 1 to 64 letters, digits, `.`, `_` and `-`, so it can't be taken for an
/// email.
struct Username: Hashable, Sendable {
    static let countMax = 64
    static let bytesMax = 256
    let text: String

    init?(parsing raw: String) {
        guard raw.utf8.count <= EmailAddress.rawBytesMax else { return nil }
        let text = raw.precomposedStringWithCanonicalMapping
        guard text.utf8.count <= Self.bytesMax, (1...Self.countMax).contains(text.count),
            text.unicodeScalars.first?.isMark == false,
            text.unicodeScalars.allSatisfy({ $0.isWordPart || "._-".unicodeScalars.contains($0) })
        else { return nil }
        self.text = text
    }

    /// Lower case; decides uniqueness.
    var folded: String { text.folded }
}

extension Unicode.Scalar {
    /// Control and format characters, line and paragraph separators, and what stands for nothing.
    var isUnprintable: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    /// A sign that joins the one before it.
    fileprivate var isMark: Bool {
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: true
        default: false
        }
    }

    /// A letter, a digit, or a mark on one.
    fileprivate var isWordPart: Bool {
        properties.isAlphabetic || properties.numericType != nil || isMark
    }
}
