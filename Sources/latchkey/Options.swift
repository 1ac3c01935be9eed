import ArgumentParser
import Auth
import Foundation
import Logging

/// What every command takes.
struct CommonOptions: ParsableArguments {
    @Option(name: .customLong("data-dir"), help: "Where the database and the keys are. (default: ./latchkey-data)")
    var dataDirectory: String?

    @Option(
        name: .customLong("database-url"),
        help: "A PostgreSQL database, postgres://…; without one, SQLite in the data directory."
    )
    var databaseURL: String?

    /// The configuration with these options over the environment and the file.
    func configuration(_ others: [String: String] = [:]) async throws -> Configuration {
        var overrides = others
        overrides["data_dir"] = dataDirectory
        overrides["database_url"] = databaseURL
        return try await Configuration.load(overrides: overrides, environment: ProcessInfo.processInfo.environment)
    }

    /// Opens the installation for a command, and closes it behind.
    func withCommands<T: Sendable>(_ body: (Commands) async throws -> T) async throws -> T {
        try await reporting {
            let installation = try await Installation(
                configuration(),
                logger: Output.logger(.warning)
            )
            let result = try await body(Commands(installation))
            try installation.close()
            return result
        }
    }
}

/// Turns what went wrong into a message on standard error and exit code 1; wrong usage is ArgumentParser's, with 64.
func reporting<T>(_ body: () async throws -> T) async throws -> T {
    do {
        return try await body()
    } catch let error as ExitCode {
        throw error
    } catch let error as ValidationError {
        throw error
    } catch {
        Output.error(Refusal(error).description)
        throw ExitCode.failure
    }
}

enum Output {
    static func line(_ text: String) {
        FileHandle.standardOutput.write(Data((text + "\n").utf8))
    }

    static func error(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }

    /// Messages of the process itself, one JSON line each, on standard error.
    static func logger(_ level: Logger.Level) -> Logger {
        var logger = Logger(label: "latchkey") { _ in JSONLogHandler() }
        logger.logLevel = level
        return logger
    }
}
