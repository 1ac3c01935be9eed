import CQREncode

/// A text as a picture that cameras read (ISO/IEC 18004).
enum QRCode {
    /// Modules of white around it, as the standard asks for.
    private static let margin = 4

    /// SVG, black on white whatever surrounds it; nil for a text that is too long.
    static func svg(of text: String) -> String? {
        guard let code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M) else { return nil }
        defer { QRcode_free(code) }
        let width = Int(code.pointee.width)
        var path = ""
        for row in 0..<width {
            var column = 0
            while column < width {
                var end = column
                while end < width, code.pointee.data[row * width + end] & 1 == 1 { end += 1 }
                if end > column { path += "M\(column + margin) \(row + margin)h\(end - column)v1h-\(end - column)z" }
                column = end + 1
            }
        }
        let size = width + 2 * margin
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(size) \(size)" shape-rendering="crispEdges">\
            <path fill="#fff" d="M0 0h\(size)v\(size)H0z"/><path d="\(path)"/></svg>
            """
    }
}
