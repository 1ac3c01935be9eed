import Configuration
import Foundation
import Logging
import OrderedCollections
import Storage

/// What the process is started with: command line over environment over `latchkey.json` in the data directory over
/// defaults.
///
/// Read once. Everything wrong with it is told at once.
package struct Configuration: Sendable {
    let host: String
    let port: Int
    let dataDirectory: String
    let store: Store
    let signingSecret: Secret<[UInt8]>?
    let signingAlgorithm: SigningAlgorithm
    let sealingKey: Secret<[UInt8]>?
    package let logLevel: Logger.Level
    /// What the process may use; nil takes the default for the machine.
    let memoryMegabytes: Int?
    /// Fewer than the machine would carry.
    let connectionsMax: Int?
    let connectionsPerAddressMax: Int?

    /// Where the accounts are.
    enum Store: Sendable {
        /// In the data directory.
        case sqlite
        case postgres(url: Secret<String>, PostgresLimits)
    }

    static let fileName = "latchkey.json"
    static let signingSecretBytesMin = 32

    /// Whether other nodes may use the same database.
    var isShared: Bool {
        switch store {
        case .sqlite: false
        case .postgres: true
        }
    }

    /// What stops the start: every problem, one a line.
    package struct Invalid: Error, CustomStringConvertible {
        let problems: [String]

        package var description: String {
            "The configuration has \(problems.count == 1 ? "a problem" : "\(problems.count) problems"):\n"
                + problems.map { "  - \($0)" }.joined(separator: "\n")
        }
    }

    /// The options by their names in `latchkey.json`; in the environment they are `LATCHKEY_` and the name in capitals.
    private static let options = [
        "host", "port", "data_dir", "database_url", "database_pool_size", "database_pool_wait_ms", "jwt_secret",
        "jwt_algorithm", "sealing_key", "log_level", "memory_mb", "connections_max", "connections_per_address_max",
    ]

    /// `overrides` are what the command line gave, by option name.
    ///
    /// Throws ``Invalid``.
    package static func load(overrides: [String: String], environment: [String: String]) async throws -> Configuration {
        var problems: [String] = []
        let directory =
            [overrides["data_dir"], environment["LATCHKEY_DATA_DIR"]].compactMap(\.self).first { !$0.isEmpty }
            ?? "./latchkey-data"
        let file = fileValues(directory, &problems)
        for (name, text) in overrides.merging(prefixed(environment), uniquingKeysWith: { given, _ in given })
        where TextGate.text(text, as: .option) == nil {
            problems.append("\(name.lowercased()) must be a text of at most \(TextKind.option.bytesMax) bytes.")
        }
        guard problems.isEmpty else { throw Invalid(problems: problems) }
        let values = ConfigReader(providers: [
            InMemoryProvider(values: keyed(overrides)),
            EnvironmentVariablesProvider(environmentVariables: prefixed(environment)),
            InMemoryProvider(values: keyed(file)),
        ])
        return try parse(values, directory: directory, problems: problems)
    }

    private static func parse(_ values: ConfigReader, directory: String, problems: [String]) throws -> Configuration {
        var problems = problems
        let port = values.string(forKey: "port").map { Int($0) } ?? 8090
        if port.map((0...65_535).contains) != true {
            problems.append("port must be a number from 0 to 65535 (--port, LATCHKEY_PORT or \(fileName)).")
        }
        let secret = values.string(forKey: "jwt.secret", isSecret: true)
        if let secret, secret.utf8.count < signingSecretBytesMin || Set(secret.utf8).count < 8 {
            problems.append(
                "jwt_secret is too weak: give at least \(signingSecretBytesMin) bytes of random text, e.g. from `openssl rand -base64 48`."
            )
        }
        let algorithm = SigningAlgorithm(rawValue: values.string(forKey: "jwt.algorithm", default: "ES256"))
        if algorithm == nil { problems.append("jwt_algorithm must be ES256 or HS256.") }
        let sealingText = values.string(forKey: "sealing.key", isSecret: true)
        let sealing = sealingText.flatMap { Data(base64Encoded: $0) }.map(Array.init)
        if sealingText != nil && sealing.flatMap({ SealingKey(bytes: $0) }) == nil
            || sealing.map({ Set($0).count < 8 }) == true
        {
            problems.append("sealing_key must be 32 random bytes in base64, e.g. from `openssl rand -base64 32`.")
        }
        let level = Logger.Level(rawValue: values.string(forKey: "log.level", default: "info"))
        if level == nil {
            problems.append(
                "log_level must be one of: \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))."
            )
        }
        let store = store(values, &problems)
        let memoryMin = (MemoryPlan.bytesMin + MemoryPlan.megabyte - 1) / MemoryPlan.megabyte
        let memory = number(values, "memory.mb", "memory_mb", memoryMin...1_000_000, &problems)
        let connections = number(values, "connections.max", "connections_max", 16...1_000_000, &problems)
        let perAddress = number(
            values,
            "connections.per.address.max",
            "connections_per_address_max",
            1...1_000_000,
            &problems
        )
        guard problems.isEmpty, let port, let algorithm, let level else { throw Invalid(problems: problems) }
        return Configuration(
            host: values.string(forKey: "host", default: "127.0.0.1"),
            port: port,
            dataDirectory: directory,
            store: store,
            signingSecret: secret.map { Secret(Array($0.utf8)) },
            signingAlgorithm: algorithm,
            sealingKey: sealing.map(Secret.init),
            logLevel: level,
            memoryMegabytes: memory,
            connectionsMax: connections,
            connectionsPerAddressMax: perAddress
        )
    }

    /// A whole number that need not be given.
    private static func number(
        _ values: ConfigReader,
        _ key: ConfigKey,
        _ name: String,
        _ range: ClosedRange<Int>,
        _ problems: inout [String]
    ) -> Int? {
        guard let number = values.string(forKey: key).map({ Int($0) ?? -1 }) else { return nil }
        if !range.contains(number) {
            problems.append("\(name) must be a number from \(range.lowerBound) to \(range.upperBound).")
        }
        return number
    }

    private static func store(_ values: ConfigReader, _ problems: inout [String]) -> Store {
        let size = number(values, "database.pool.size", "database_pool_size", 1...1000, &problems)
        let wait = number(values, "database.pool.wait.ms", "database_pool_wait_ms", 1...600_000, &problems)
        let limits = PostgresLimits(
            connections: size ?? PostgresLimits.connectionsDefault,
            waitMilliseconds: wait ?? PostgresLimits.waitMillisecondsDefault
        )
        guard let url = values.string(forKey: "database.url", isSecret: true) else { return .sqlite }
        if let problem = PostgresDatabase.problem(with: url) { problems.append("database_url \(problem).") }
        return .postgres(url: Secret(url), limits)
    }

    /// The members of `latchkey.json`, or none when there is no such file.
    private static func fileValues(_ directory: String, _ problems: inout [String]) -> [String: String] {
        let path = directory + "/" + fileName
        guard let bytes = FileManager.default.contents(atPath: path) else { return [:] }
        guard case .object(let members)? = JSON(parsing: Array(bytes)) else {
            problems.append("\(path) is not a JSON object.")
            return [:]
        }
        var values: [String: String] = [:]
        for (key, value) in members {
            switch value {
            case _ where !options.contains(key.text) || key == "data_dir":
                problems.append(
                    "\(path): \(key) is not an option; there are \(options.filter { $0 != "data_dir" }.joined(separator: ", "))."
                )
            case .string(let text): values[key.text] = text
            case .integer(let integer): values[key.text] = String(integer)
            case .null, .bool, .number, .array, .object:
                problems.append("\(path): \(key) must be a text or a whole number.")
            }
        }
        return values
    }

    private static func keyed(_ values: [String: String]) -> [AbsoluteConfigKey: ConfigValue] {
        Dictionary(
            uniqueKeysWithValues: values.map { option, value in
                (
                    AbsoluteConfigKey(option.split(separator: "_").map(String.init)),
                    ConfigValue(.string(value), isSecret: true)
                )
            }
        )
    }

    /// `LATCHKEY_JWT_SECRET` is read as `JWT_SECRET`, the environment's spelling of the key `jwt.secret`.
    private static func prefixed(_ environment: [String: String]) -> [String: String] {
        Dictionary(
            uniqueKeysWithValues: environment.compactMap { name, value in
                name.hasPrefix("LATCHKEY_") && !value.isEmpty ? (String(name.dropFirst("LATCHKEY_".count)), value) : nil
            }
        )
    }
}
