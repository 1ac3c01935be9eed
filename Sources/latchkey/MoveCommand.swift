import ArgumentParser
import Auth
import Foundation
import Storage

struct MoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Copy everything into a new database, SQLite or PostgreSQL.",
        discussion: """
            Stop every server of the source first. The target must be empty, and gets everything or nothing: each table is \
            compared by its number of rows and a digest before it is kept. The source stays as it is.

            A place is postgres://user@host/name, or the path of a data directory. The keys are not in the database: the \
            server of the new one needs the same .sealing-key (or LATCHKEY_SEALING_KEY).

            latchkey move --from ./latchkey-data --to postgres://latchkey@db.example.org/latchkey
            """
    )

    @Option(help: "Where everything is.")
    var from: String

    @Option(help: "Where it shall be.")
    var to: String

    func run() async throws {
        try await reporting {
            let move = try await DatabaseMove(from: from, to: to)
            let bar = ProgressBar()
            try await move.prepare { bar.say("Looking whether a server still works on it …") }
            let copied = try await move.run { progress in
                let step =
                    switch progress.step {
                    case .copying: "copying"
                    case .comparing: "comparing"
                    }
                bar.show("\(step) \(progress.table)", progress.done, of: progress.total)
            }
            bar.clear()
            try move.close()
            let width = copied.map(\.table.count).max() ?? 0
            for table in copied {
                let name = table.table.padding(toLength: width, withPad: " ", startingAt: 0)
                let rows = String(repeating: " ", count: max(0, 10 - String(table.rows).count)) + String(table.rows)
                Output.line("\(name) \(rows)  \(table.digest)")
            }
            Output.line("Moved \(copied.map(\.rows).reduce(0, +)) rows. Digest of all: \(copied.digest)")
        }
    }
}

/// A line on standard error that is written over and over, if that is a terminal.
struct ProgressBar {
    private static let width = 30
    private let isTerminal = isatty(STDERR_FILENO) == 1

    func show(_ what: String, _ done: Int, of total: Int) {
        guard isTerminal else { return }
        let filled = total > 0 ? Self.width * min(done, total) / total : Self.width
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Self.width - filled)
        let percent = total > 0 ? 100 * min(done, total) / total : 100
        write("\r\u{1B}[2K\(bar) \(percent) %  \(what)  \(done) of \(total) rows")
    }

    func say(_ what: String) {
        if isTerminal { write("\r\u{1B}[2K\(what)") }
    }

    func clear() {
        if isTerminal { write("\r\u{1B}[2K") }
    }

    private func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
