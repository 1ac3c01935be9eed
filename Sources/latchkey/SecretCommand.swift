import ArgumentParser
import Auth

struct SecretCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "secret",
        abstract: "Manage the secret that signs tokens.",
        subcommands: [Rotate.self]
    )

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign with a fresh secret from now on.",
            discussion: """
                Tokens signed before stay valid, so nobody is logged out; a running server follows within a second. API keys and \
                sealed settings don't depend on this secret.
                """
        )

        @Flag(name: .customLong("logout-everyone"), help: "Forget the old secrets and end every session.")
        var logoutEveryone = false

        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withCommands { commands in
                try await commands.rotateSecret(loggingEveryoneOut: logoutEveryone)
            }
            Output.line(
                logoutEveryone
                    ? "A fresh secret signs. Everybody must log in again."
                    : "A fresh secret signs. Nobody was logged out."
            )
        }
    }
}
