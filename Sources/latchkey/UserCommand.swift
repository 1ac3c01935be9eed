import ArgumentParser
import Auth

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user",
        abstract: "Create users for background jobs, and give them API keys.",
        subcommands: [CreateSystem.self, ReassignKey.self]
    )

    struct CreateSystem: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create-system",
            abstract: "Create a system user, which acts by an API key, and print the key, this once.",
            discussion: """
                Works on the database directly, also while the server runs. The key goes to standard output alone, so that \
                `KEY=$(latchkey user create-system --username nightly)` holds it; the user's id goes to standard error.
                """
        )

        @Option(help: "The name that it is listed under.")
        var username: String

        @Option(help: "The collection that it belongs to.")
        var collection = "users"

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let made = try await common.withCommands { commands in
                try await commands.createSystemUser(named: username, in: collection)
            }
            Output.error("Created the system user \(username), \(made.id). Its API key, told this once:")
            Output.line(made.key)
        }
    }

    struct ReassignKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reassign-key",
            abstract: "Replace a user's primary API key, and print the new one, this once.",
            discussion: "Works on the database directly; the former key is refused within a second."
        )

        @Argument(help: "The user's id.")
        var id: String

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let key = try await common.withCommands { commands in try await commands.reassignAPIKey(of: id) }
            Output.line(key)
        }
    }
}
