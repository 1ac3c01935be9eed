import Foundation

/// `<dataDir>/.secret`: the signing secret of this node, for operators to read, back up, and replace.
///
/// A secret is the bytes of the file without a final line break; one that is made here is 64 characters of base64url.
/// Beside it, `.secret.fingerprint` names the secret that was in force here last: so a secret that was replaced or deleted
/// here is told from the one of a directory that never belonged to the database.
struct SigningSecretFile: Sendable {
    let directory: String

    private var path: String { directory + "/.secret" }
    private var markPath: String { directory + "/.secret.fingerprint" }

    /// A file that can't be used as it is; the text says what to do.
    struct Unusable: Error, CustomStringConvertible {
        let description: String
    }

    /// Nil when there is no file.
    ///
    /// Throws ``Unusable``.
    func read() throws -> Secret<[UInt8]>? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard var bytes = FileManager.default.contents(atPath: path).map(Array.init) else {
            throw Unusable(description: "\(path) can't be read.")
        }
        while bytes.last == 0x0A || bytes.last == 0x0D { bytes.removeLast() }
        guard bytes.count >= Configuration.signingSecretBytesMin else {
            throw Unusable(
                description:
                    "\(path) holds \(bytes.count) bytes; at least \(Configuration.signingSecretBytesMin) are needed. "
                    + "Delete it to have a new one made (everybody must log in again)."
            )
        }
        return Secret(bytes)
    }

    /// The fingerprint of the secret that was in force here last; nil where none was.
    var mark: String? {
        FileManager.default.contents(atPath: markPath).flatMap { TextGate.text($0, as: .keyFile)?.trimmed }
    }

    /// Writes what differs.
    func keep(_ secret: Secret<[UInt8]>) throws {
        if try read()?.reveal() != secret.reveal() { try PrivateFile.write(secret.reveal() + [0x0A], to: path) }
        let fingerprint = SigningKey.fingerprint(of: secret)
        if mark != fingerprint { try PrivateFile.write(Array((fingerprint + "\n").utf8), to: markPath) }
    }
}
