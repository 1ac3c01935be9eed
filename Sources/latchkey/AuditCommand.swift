import ArgumentParser
import Auth
import Foundation

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Show that the audit log is as it was written.",
        subcommands: [Verify.self, Checkpoint.self]
    )

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go through the audit log and name the first row that was altered, added, removed or moved.",
            discussion: """
                Rows removed at the end leave no trace in the log itself: keep checkpoints elsewhere (`latchkey audit \
                checkpoint`), and name the newest one. Exits with 1 when something is wrong. Needs the sealing key.
                """
        )

        @Option(help: "A file with a checkpoint that was kept elsewhere.")
        var checkpoint: String?

        @Option(help: "The directory with the files of closed segments, to verify them too.")
        var segments: String?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let kept = try checkpoint.map { path in
                guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                    throw ValidationError("There is no readable file \(path).")
                }
                return text.trimmingCharacters(in: .whitespacesAndNewlines)
            }
            let report = try await common.withCommands { commands in
                let bar = ProgressBar()
                let report = try await commands.verifyAudit(against: kept, segments: segments) { done in
                    bar.say("\(done) rows are sound …")
                }
                bar.clear()
                return report
            }
            Output.line(report.text)
            if !report.isSound { throw ExitCode(1) }
        }
    }

    struct Checkpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the newest linked row, signed; keep it elsewhere.",
            discussion: "The server also writes one to its log every hour."
        )

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let checkpoint = try await common.withCommands { commands in try await commands.auditCheckpoint() }
            guard let checkpoint else {
                Output.error("Nothing is linked yet: a server does that within a second or so.")
                throw ExitCode(1)
            }
            Output.line(checkpoint)
        }
    }
}
