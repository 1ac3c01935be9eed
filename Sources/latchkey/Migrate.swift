import ArgumentParser
import Auth

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the database's schema up to date.",
        discussion: "`serve` does it by itself; this is for doing it ahead, after a backup."
    )

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let steps = try await common.withCommands { commands in try await commands.schemaSteps() }
        Output.line("The schema is up to date: \(steps).")
    }
}
