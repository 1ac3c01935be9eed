/// What the nodes of a database tell each other by `NOTIFY`: the sender, then a topic a line.
struct PostgresNotices: Sendable {
    static let channel = "latchkey"
    /// PostgreSQL takes payloads of less than 8000 bytes.
    static let payloadBytesMax = 7900
    /// Beyond so many, everybody forgets everything instead.
    static let payloadsMax = 64
    private static let everything = "*"

    /// Names this process, so that it passes over its own.
    let sender: String

    init() {
        var generator = SystemRandomNumberGenerator()
        sender = String(generator.next(), radix: 36)
    }

    func payloads(_ topics: [String]) -> [String] {
        var payloads: [String] = []
        var current = sender
        for topic in topics {
            if current.utf8.count + topic.utf8.count + 1 > Self.payloadBytesMax {
                payloads.append(current)
                current = sender
            }
            current += "\n" + topic
        }
        if !topics.isEmpty { payloads.append(current) }
        return payloads.count <= Self.payloadsMax ? payloads : ["\(sender)\n\(Self.everything)"]
    }

    /// Nil for one's own.
    func change(_ payload: String) -> Change? {
        let lines = payload.split(separator: "\n").map(String.init)
        guard let sender = lines.first, sender != self.sender else { return nil }
        let topics = Array(lines.dropFirst())
        return topics.isEmpty || topics.contains(Self.everything) ? .unknown : .topics(topics)
    }
}
