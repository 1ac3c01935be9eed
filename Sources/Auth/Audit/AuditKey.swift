import Crypto
import Foundation
import Storage

/// What the audit log is chained and its checkpoints are signed with, made from the sealing key: who can write the database
/// but has not that key can't make a row or a link that fits.
struct AuditKey: Sendable {
    private let macKey: SymmetricKey
    private let signingKey: Curve25519.Signing.PrivateKey

    /// `derive` makes 32 bytes for a purpose (HKDF).
    init(derive: (_ purpose: String) -> SymmetricKey) throws {
        macKey = derive("latchkey audit chain")
        signingKey = try derive("latchkey audit checkpoint").withUnsafeBytes { bytes in
            try Curve25519.Signing.PrivateKey(rawRepresentation: Data(bytes))
        }
    }

    func mac(of record: AuditRecord) -> Digest {
        Digest(code: HMAC<SHA256>.authenticationCode(for: Array("row".utf8) + record.canonical, using: macKey))
    }

    /// What ties a row to the one before it and to its place.
    func link(_ mac: Digest, at position: Int64, after former: Digest?) -> Digest {
        let place = Self.encode([String(position), former.map { Hex.encode($0.bytes) }])
        return Digest(code: HMAC<SHA256>.authenticationCode(for: Array("link".utf8) + place + mac.bytes, using: macKey))
    }

    func checkpoint(at position: Int64, _ link: Digest, time: Timestamp) throws -> AuditCheckpoint {
        let signed = AuditCheckpoint.signed(position, link, time)
        let (key, signature) = try sign(signed)
        return AuditCheckpoint(position: position, link: link, time: time, key: key, signature: signature)
    }

    /// Ed25519 (RFC 8032), with the public key.
    func sign(_ bytes: [UInt8]) throws -> (key: [UInt8], signature: [UInt8]) {
        (Array(signingKey.publicKey.rawRepresentation), Array(try signingKey.signature(for: bytes)))
    }

    func isSigned(_ bytes: [UInt8], by signature: [UInt8]) -> Bool {
        signingKey.publicKey.isValidSignature(Data(signature), for: bytes)
    }

    /// Whether this installation has signed it (Ed25519, RFC 8032).
    func hasSigned(_ checkpoint: AuditCheckpoint) -> Bool {
        isSigned(
            AuditCheckpoint.signed(checkpoint.position, checkpoint.link, checkpoint.time),
            by: checkpoint.signature
        )
    }

    /// Each text with its length, and another sign for none.
    static func encode(_ fields: [String?]) -> [UInt8] {
        var bytes: [UInt8] = []
        for field in fields {
            if let field {
                bytes.append(contentsOf: "\(field.utf8.count):".utf8)
                bytes.append(contentsOf: field.utf8)
            } else {
                bytes.append(UInt8(ascii: "-"))
            }
            bytes.append(UInt8(ascii: ";"))
        }
        return bytes
    }
}

/// What the newest linked row was at a time, signed: kept elsewhere, it shows that rows at the end were removed since.
struct AuditCheckpoint: Sendable {
    let position: Int64
    let link: Digest
    let time: Timestamp
    /// The public key, 32 bytes.
    let key: [UInt8]
    let signature: [UInt8]

    var json: JSON {
        [
            "position": .integer(position), "link": .string(Base64URL.encode(link.bytes)), "at": time.json,
            "key": .string(Base64URL.encode(key)), "signature": .string(Base64URL.encode(signature)),
        ]
    }

    static func signed(_ position: Int64, _ link: Digest, _ time: Timestamp) -> [UInt8] {
        AuditKey.encode([
            "latchkey audit checkpoint", String(position), Hex.encode(link.bytes), String(time.milliseconds),
        ])
    }
}

extension AuditCheckpoint {
    /// Nil for what ``json`` has not made.
    init?(json: JSON) {
        func bytes(_ key: String) -> [UInt8]? { json[key]?.text.flatMap { Base64URL.decode($0) } }
        guard case .integer(let position)? = json["position"], let link = bytes("link"),
            let digest = Digest(sqlValue: .blob(link)), let time = json["at"]?.text.flatMap({ Timestamp(parsing: $0) }),
            let key = bytes("key"), let signature = bytes("signature")
        else { return nil }
        self.init(position: position, link: digest, time: time, key: key, signature: signature)
    }
}
