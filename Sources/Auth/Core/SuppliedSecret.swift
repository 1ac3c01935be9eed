/// A secret that somebody has made up, for an API key or a device: long, and not to be guessed.
enum SuppliedSecret {
    /// Characters.
    static let countRange = 32...256
    /// Of the characters and of the pairs of neighbours; 32 random digits have more.
    private static let distinctMin = (characters: 7, pairs: 16)

    /// What is wrong with the secret, as a phrase that follows its field's name; nil when nothing is.
    ///
    /// Told from its form alone: a hash of something guessable passes.
    static func problem(with text: String, of user: User) -> String? {
        let characters = Array(text.utf8)
        guard characters.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") }) else {
            return "must be of printable ASCII characters, without spaces and colons"
        }
        guard countRange.contains(characters.count) else {
            return "must be \(countRange.lowerBound) to \(countRange.upperBound) characters"
        }
        let folded = text.lowercased()
        if folded.hasPrefix("lk_") { return "must not begin with lk_, as tokens of this server do" }
        if folded.hasPrefix("eyj") && folded.contains(".") { return "must not look like a JWT" }
        if isUUID(folded) {
            return "must not be a UUID: these are names, and often known; hash it with something secret"
        }
        let names = [user.email?.lowercased(), user.username?.lowercased(), user.id.rawValue].compactMap(\.self)
        let joined = folded.filter { $0 != "-" && $0 != "_" }
        if names.contains(where: { $0.utf8.count >= 8 && folded.contains($0) })
            || joined.contains(user.id.rawValue.filter { $0 != "-" })
            || names.contains(where: { folded.contains(Hex.encode(Digest(of: $0).bytes)) })
        {
            return "must not contain the account's email, username or id, nor a digest of them"
        }
        let isEasy =
            Set(characters).count < distinctMin.characters
            || Set(zip(characters, characters.dropFirst()).map { UInt16($0) << 8 | UInt16($1) }).count
                < distinctMin.pairs
            || isRepeated(characters) || isSequential(characters) || isTyped(folded)
        return isEasy ? "is too easy to guess: use random characters, such as those of `openssl rand -hex 32`" : nil
    }

    /// As they are written, with hyphens or underscores; also in braces or as a URN.
    ///
    /// Without them, random digits look alike.
    private static func isUUID(_ folded: String) -> Bool {
        folded.wholeMatch(of: /(urn:uuid:)?\{?[0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}\}?/) != nil
    }

    /// Mostly along the rows of a keyboard.
    private static func isTyped(_ folded: String) -> Bool {
        let rows = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"]
        let pairs = zip(folded, folded.dropFirst()).map { String([$0, $1]) }
        let typed = pairs.count { pair in rows.contains { $0.contains(pair) || $0.contains(String(pair.reversed())) } }
        return typed * 2 > pairs.count
    }

    /// A shorter text again and again.
    private static func isRepeated(_ characters: [UInt8]) -> Bool {
        (1...characters.count / 2).contains { period in
            zip(characters, characters.dropFirst(period)).allSatisfy { $0 == $1 }
        }
    }

    /// Mostly runs such as `abcdef`, `7654` and `xxxx`.
    private static func isSequential(_ characters: [UInt8]) -> Bool {
        let steps = zip(characters, characters.dropFirst()).count { abs(Int($0) - Int($1)) <= 1 }
        return steps * 5 > characters.count * 3
    }
}
