/// One of ten codes that stand for a lost authenticator, each once.
///
/// Eight characters of an alphabet without look-alikes, some 39 bits; kept as Argon2id hashes.
struct RecoveryCode: Sendable {
    static let count = 10
    private static let length = 8
    private static let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789".utf8)

    let text: Secret<String>

    init(random: Random) {
        var characters: [UInt8] = []
        while characters.count < Self.length {
            // 248 is the largest multiple of 31 in a byte: what is left over would favour some characters.
            for byte in random.bytes(Self.length) where byte < 248 && characters.count < Self.length {
                characters.append(Self.alphabet[Int(byte) % Self.alphabet.count])
            }
        }
        text = Secret(String(decoding: characters, as: UTF8.self))
    }

    /// In any case, with hyphens and spaces or without; nil for what can't be one.
    init?(parsing raw: String) {
        guard raw.utf8.count <= 32 else { return nil }
        let characters = raw.lowercased().utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: " ") }
        guard characters.count == Self.length, characters.allSatisfy(Self.alphabet.contains) else { return nil }
        text = Secret(String(decoding: characters, as: UTF8.self))
    }

    /// One of 256, under a key that is not in the database: it narrows the search, and tells a thief nothing to try.
    func bucket(of user: UserID, by key: SealingKey) -> Int {
        Int(key.digest(of: text.reveal(), place: "recovery:\(user)").bytes.first ?? 0)
    }
}
