import ArgumentParser
import Auth

struct Admin: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Create admins, give one a new password, or remove one's second factor.",
        subcommands: [Create.self, ResetPassword.self, DisableMFA.self]
    )

    /// The email and password of an admin.
    struct Credentials: ParsableArguments {
        @Option(help: "The admin's email.")
        var email: String

        @Option(help: "The password; leave it out to type it unseen, or pipe it in.")
        var password: String?
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create an admin.",
            discussion: "Works on the database directly, also while the server runs."
        )

        @OptionGroup var credentials: Credentials
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let password = try credentials.password ?? Prompt.password()
            try await common.withCommands { commands in
                try await commands.createAdmin(email: credentials.email, password: password)
            }
            Output.line("Created the admin \(credentials.email).")
        }
    }

    struct ResetPassword: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give an admin a new password; their sessions end.",
            discussion: "Works on the database directly, also while the server runs."
        )

        @OptionGroup var credentials: Credentials
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let password = try credentials.password ?? Prompt.password()
            try await common.withCommands { commands in
                try await commands.resetAdminPassword(email: credentials.email, password: password)
            }
            Output.line("The password of \(credentials.email) is changed; their sessions have ended.")
        }
    }

    struct DisableMFA: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "disable-mfa",
            abstract: "Remove the second factor of an admin who has lost it.",
            discussion: "Works on the database directly, also while the server runs. The recovery codes go too."
        )

        @Option(help: "The admin's email.")
        var email: String

        @OptionGroup var common: CommonOptions

        func run() async throws {
            try await common.withCommands { commands in try await commands.disableAdminMFA(email: email) }
            Output.line("\(email) signs in without a second factor now.")
        }
    }
}
