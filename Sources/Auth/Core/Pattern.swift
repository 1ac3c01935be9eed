import CRE2
import Foundation
import Synchronization

/// The regular expression of a field: RE2's syntax, matched in linear time, so that no text can keep the server busy.
///
/// RE2 has neither look-around nor back-references, which is what makes other engines explode. A class, since it owns
/// the compiled form; a schema is compiled once and then cached.
final class Pattern: Sendable {
    static let bytesMax = 500
    /// Of the compiled form with its caches.
    static let memoryBytesMax = 1 << 20

    let text: String
    /// Nil for a stored pattern that RE2 doesn't take.
    private let compiled: Mutex<OpaquePointer?>

    /// Why a pattern is refused, as RE2 says it.
    struct Unsupported: Error {
        let reason: String
    }

    /// Throws ``Unsupported``.
    init(_ text: String) throws(Unsupported) {
        self.text = text
        compiled = Mutex(try Self.compile(text))
    }

    /// A pattern that an earlier version has stored; if RE2 doesn't take it, ``matches(_:)`` says so.
    init(stored text: String) {
        self.text = text
        compiled = Mutex(try? Self.compile(text))
    }

    deinit {
        compiled.withLock { compiled in
            if let compiled { lk_re2_free(compiled) }
        }
    }

    /// Whether some part of the text matches; nil when the pattern can't be used.
    func matches(_ text: String) -> Bool? {
        var text = text
        return compiled.withLock { compiled in
            guard let compiled else { return nil }
            return text.withUTF8 { bytes in
                bytes.withMemoryRebound(to: CChar.self) { lk_re2_matches(compiled, $0.baseAddress, $0.count) == 1 }
            }
        }
    }

    private static func compile(_ text: String) throws(Unsupported) -> sending OpaquePointer {
        var reason = [CChar](repeating: 0, count: 200)
        let compiled = lk_re2_compile(text, text.utf8.count, Int64(memoryBytesMax), &reason, reason.count)
        guard let compiled else {
            let bytes = reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
            throw Unsupported(reason: TextGate.shown(bytes, bytesMax: reason.count))
        }
        return compiled
    }
}

extension Pattern: Equatable {
    static func == (left: Pattern, right: Pattern) -> Bool { left.text == right.text }
}
