import Auth
import Foundation
import Logging

/// Writes log messages as JSON lines on standard error, in the request log's form.
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let values = metadata.merging(event.metadata ?? [:]) { _, own in own }
        Output.error(
            LogLine.text(level: event.level, message: event.message.description, values.mapValues(\.description))
        )
    }
}
