import Foundation

/// The files that the signing keys come from: `<dataDir>/.secret`, and `.secret.previous` with those that were rotated
/// away.
///
/// A secret is the bytes of the file without a final line break; a `.secret` made here is 64 characters of base64url. A
/// line of `.secret.previous` is the time of its rotation in seconds and the secret in base64url.
struct SigningSecrets: Sendable {
    /// No token lives longer, so no key is needed for longer.
    static let previousKeptSeconds = Window.secondsMax
    static let generatedBytes = 48

    let directory: String
    /// From the environment: then there are no files.
    let fixed: Secret<[UInt8]>?
    let algorithm: SigningAlgorithm

    private var path: String { directory + "/.secret" }
    private var previousPath: String { directory + "/.secret.previous" }

    /// A file that can't be used as it is; the text says what to do.
    struct Unusable: Error, CustomStringConvertible {
        let description: String
    }

    /// Makes `.secret` if there is none yet.
    func prepare(random: Random) throws {
        guard fixed == nil, !FileManager.default.fileExists(atPath: path) else { return }
        try PrivateFile.write(Array(Base64URL.encode(random.bytes(Self.generatedBytes)).utf8) + [0x0A], to: path)
    }

    /// The keys of the secrets as they are now.
    func load() throws -> SigningKeys {
        SigningKeys(
            current: try SigningKey(secret: try current(), algorithm: algorithm),
            previous: try previous().map { try SigningKey(secret: $0.secret, algorithm: algorithm) }
        )
    }

    /// Fingerprints of the current secret and of the previous ones.
    func fingerprints() throws -> (current: String, previous: [String]) {
        (SigningKey.fingerprint(of: try current()), try previous().map { SigningKey.fingerprint(of: $0.secret) })
    }

    /// Replaces the secret by a fresh one.
    ///
    /// With `keepingPrevious` the old one goes on verifying.
    ///
    /// The old one is safe in its file before the new one signs: a crash in between logs nobody out.
    func rotate(keepingPrevious: Bool, at now: Timestamp, random: Random) throws {
        guard fixed == nil else {
            throw Unusable(description: "The signing secret comes from LATCHKEY_JWT_SECRET: change it there.")
        }
        var lines: [String] = []
        if keepingPrevious {
            let kept = try previous().filter { now.seconds - $0.rotatedAtSeconds < Int64(Self.previousKeptSeconds) }
            lines = (kept + [(now.seconds, try current())]).map { "\($0.0) \(Base64URL.encode($0.1.reveal()))\n" }
        }
        try PrivateFile.write(Array(lines.joined().utf8), to: previousPath)
        try PrivateFile.write(Array(Base64URL.encode(random.bytes(Self.generatedBytes)).utf8) + [0x0A], to: path)
    }

    private func current() throws -> Secret<[UInt8]> {
        if let fixed { return fixed }
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

    private func previous() throws -> [(rotatedAtSeconds: Int64, secret: Secret<[UInt8]>)] {
        guard fixed == nil, let bytes = FileManager.default.contents(atPath: previousPath) else { return [] }
        return try String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { line in
            let parts = line.split(separator: " ")
            guard parts.count == 2, let seconds = Int64(parts[0]), let secret = Base64URL.decode(parts[1]) else {
                throw Unusable(
                    description:
                        "\(previousPath) has a line that can't be read. Delete the file to go on without old keys."
                )
            }
            return (seconds, Secret(secret))
        }
    }
}
