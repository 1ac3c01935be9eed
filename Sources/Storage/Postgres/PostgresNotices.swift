import Synchronization

/// What the nodes of a database tell each other by `NOTIFY`: the sender, then a topic a line.
///
/// A class, since it learns that it must listen to itself.
final class PostgresNotices: Sendable {
    static let channel = "latchkey"
    /// PostgreSQL takes payloads of less than 8000 bytes.
    static let payloadBytesMax = 7900
    /// Beyond so many, everybody forgets everything instead.
    static let payloadsMax = 64
    private static let everything = "*"
    private static let told = "~"

    /// Names this process, so that it passes over its own.
    private let sender: String
    private let isHearingItself = Atomic(false)

    init() {
        var generator = SystemRandomNumberGenerator()
        sender = String(generator.next(), radix: 36)
    }

    /// Once a commit had an unknown outcome, one's own notices are the only word of whether it was stored.
    func hearItself() {
        isHearingItself.store(true, ordering: .sequentiallyConsistent)
    }

    /// `isWrite` is false for what is told without a write, which never concerns oneself.
    func payloads(_ topics: [String], isWrite: Bool = true) -> [String] {
        let sender = isWrite ? self.sender : self.sender + Self.told
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
        guard let sender = lines.first, sender != self.sender + Self.told,
            sender != self.sender || isHearingItself.load(ordering: .sequentiallyConsistent)
        else { return nil }
        let topics = Array(lines.dropFirst())
        return topics.isEmpty || topics.contains(Self.everything) ? .unknown : .topics(topics)
    }
}
