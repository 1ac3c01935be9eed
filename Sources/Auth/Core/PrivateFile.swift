import Foundation

/// Files that only their owner may read, replaced atomically.
enum PrivateFile {
    /// Writes and syncs a new file, then renames it over `path`.
    ///
    /// Its owner is the directory's: a command that root runs must leave the server able to read it.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let temporary = path + ".new"
        let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
        try? FileManager.default.removeItem(atPath: temporary)
        guard FileManager.default.createFile(atPath: temporary, contents: nil, attributes: [.posixPermissions: 0o600])
        else {
            throw SigningSecretFile.Unusable(description: "\(temporary) can't be written.")
        }
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: temporary))
        try file.write(contentsOf: bytes)
        var owner = stat()
        if geteuid() == 0, stat(directory, &owner) == 0 { fchown(file.fileDescriptor, owner.st_uid, owner.st_gid) }
        try file.synchronize()
        try file.close()
        guard rename(temporary, path) == 0 else {
            throw SigningSecretFile.Unusable(description: "\(path) can't be written.")
        }
        let folder = open(directory, O_RDONLY)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}
