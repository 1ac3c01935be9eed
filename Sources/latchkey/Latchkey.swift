import ArgumentParser
import Auth

@main
enum Main {
    static func main() async {
        App.runTasksOnEventLoops()
        await Latchkey.main()
    }
}

struct Latchkey: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latchkey",
        abstract: "A self-hosted authentication server: accounts, sign-in, sessions.",
        discussion: """
            Start with `latchkey serve`: it makes ./latchkey-data, serves on http://127.0.0.1:8090 and prints a one-time URL for \
            creating the first admin.

            Every option can also be given as LATCHKEY_… in the environment (LATCHKEY_PORT=9000) or in latchkey.json in the data \
            directory ({"port": 9000}). Exit codes: 0 done, 1 failed, 64 wrong usage.
            """,
        version: Version.text,
        subcommands: [
            Serve.self, Admin.self, UserCommand.self, AuditCommand.self, SettingsCommand.self, SecretCommand.self,
            Migrate.self,
            MoveCommand.self,
            VersionCommand.self,
        ]
    )
}

/// The command line's own version of `--version`, as the contract has it.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    func run() {
        Output.line("latchkey \(Version.text)")
    }
}
