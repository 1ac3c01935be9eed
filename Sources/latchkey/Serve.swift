import ArgumentParser
import Auth
import Foundation

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the server.",
        discussion: """
            Prints its address and, until there is an admin, a one-time URL for creating one. Requests are logged as JSON lines on \
            standard output. SIGTERM and Ctrl-C finish what is under way, then stop.
            """
    )

    @Option(help: "The address to listen on. (default: 127.0.0.1)")
    var host: String?

    @Option(help: "The port to listen on; 0 takes a free one. (default: 8090)")
    var port: Int?

    @OptionGroup var common: CommonOptions

    func run() async throws {
        try await reporting {
            var overrides: [String: String] = [:]
            overrides["host"] = host
            overrides["port"] = port.map(String.init)
            let configuration = try await common.configuration(overrides)
            let capacity = try Capacity(serving: configuration)
            let installation = try await Installation(configuration, logger: Output.logger(configuration.logLevel))
            try await App(installation).serve(within: capacity) { address, setUpURL in
                Output.line("Latchkey \(Version.text) serves on \(address)")
                for line in capacity.lines { Output.line(line) }
                if let setUpURL {
                    Output.line(
                        "There is no admin yet. Create one within 24 hours, with this one-time address:\n  \(setUpURL)"
                    )
                }
            }
        }
    }
}
