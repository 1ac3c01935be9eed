import ArgumentParser
import Foundation

/// Asks on the terminal.
enum Prompt {
    /// A password, unseen on a terminal, or a line of standard input.
    static func password() throws -> String {
        guard isatty(STDIN_FILENO) == 1 else {
            guard let line = readLine(), !line.isEmpty else {
                throw ValidationError("Give --password, or pipe the password in.")
            }
            return line
        }
        let first = try unseen("Password: ")
        guard try unseen("Again: ") == first else { throw ValidationError("The two passwords differ.") }
        return first
    }

    private static func unseen(_ question: String) throws -> String {
        var settings = termios()
        tcgetattr(STDIN_FILENO, &settings)
        var silent = settings
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
            FileHandle.standardError.write(Data("\n".utf8))
        }
        FileHandle.standardError.write(Data(question.utf8))
        guard let line = readLine(), !line.isEmpty else { throw ValidationError("No password was given.") }
        return line
    }
}
