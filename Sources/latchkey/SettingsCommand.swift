import ArgumentParser
import Auth

struct SettingsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings",
        abstract: "Read and change settings.",
        subcommands: [Get.self, Set.self]
    )

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print all settings, or one; secrets are masked.")

        @Argument(help: "The setting, such as auth.user.window_seconds.")
        var key: String?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let settings = try await common.withCommands { commands in try await commands.settings(key) }
            for (key, value) in settings { Output.line(self.key == nil ? "\(key)=\(value)" : value) }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change settings; a running server follows within a second.",
            discussion: "An empty value (key=) goes back to the default."
        )

        @Argument(help: "What to set: auth.user.window_seconds=86400 …")
        var assignments: [String]

        @OptionGroup var common: CommonOptions

        func validate() throws {
            if let wrong = assignments.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) {
                throw ValidationError("“\(wrong)” is not key=value.")
            }
        }

        func run() async throws {
            var changes: [String: String?] = [:]
            for assignment in assignments {
                let halves = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
                    String.init
                )
                changes[halves[0]] = .some(halves[1].isEmpty ? nil : halves[1])
            }
            let wanted = changes
            let warnings = try await common.withCommands { commands in try await commands.set(wanted) }
            for (key, warning) in warnings.sorted(by: { $0.key < $1.key }) {
                Output.error("Warning: \(key) \(warning)")
            }
        }
    }
}
