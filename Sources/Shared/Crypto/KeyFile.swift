public import Base
internal import Glibc

/// A file that holds one symmetric key: 32 raw bytes, readable by its owner only.
public enum KeyFile {
    /// Why a key file was refused. Each case is the operator's to mend.
    public enum Refusal: Error, Sendable, Equatable {
        /// Its group or others may read or write it; the mode as found.
        case openToOthers(mode: UInt32)
        /// It holds another count of bytes than `size`.
        case wrongSize(Int)
        /// It is a link, a directory or a device.
        case notAFile
    }

    public static let size = 32

    /// The key at `path`; when nothing is there, a new one that is on the disk before this returns.
    ///
    /// Throws `Refusal` for a file that is not a private file of 32 bytes, `SystemError` and `EntropyError`.
    public static func loadOrCreate(_ path: String, entropy: Entropy) throws -> Secret {
        if let key = try load(path) { return key }
        try create(path, key: entropy.bytes(size), entropy)
        // Another process may have been first: what is on the disk now is the key, whoever wrote it.
        guard let key = try load(path) else { throw SystemError("read \(path)", errno: ENOENT) }
        return key
    }

    /// The key at `path`, or nil when nothing is there.
    public static func load(_ path: String) throws -> Secret? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            if errno == ELOOP { throw Refusal.notAFile }
            throw SystemError("open \(path)")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw SystemError("stat \(path)") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Refusal.notAFile }
        guard status.st_mode & 0o077 == 0 else { throw Refusal.openToOthers(mode: status.st_mode & 0o7777) }
        guard status.st_size == off_t(size) else { throw Refusal.wrongSize(Int(status.st_size)) }
        var bytes = [UInt8](repeating: 0, count: size)
        guard read(file, &bytes, size) == size else { throw SystemError("read \(path)") }
        return Secret(bytes)
    }

    /// Writes beside `path`, then links: a reader sees no file or a whole one, and the first writer wins.
    private static func create(_ path: String, key: [UInt8], _ entropy: Entropy) throws {
        // A name of its own for each attempt: two threads that meet here must not link each other's unfinished file.
        let draft = path + "." + String(decoding: Hex.encode(try entropy.bytes(8)), as: UTF8.self) + ".new"
        let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw SystemError("create \(draft)") }
        defer { unlink(draft) }
        let isWritten = fchmod(file, 0o600) == 0 && write(file, key, key.count) == key.count && fsync(file) == 0
        let problem = errno
        close(file)
        guard isWritten else { throw SystemError("write \(draft)", errno: problem) }
        if link(draft, path) != 0, errno != EEXIST { throw SystemError("create \(path)") }
        try syncDirectory(of: path)
    }

    private static func syncDirectory(of path: String) throws {
        let cut = path.utf8.lastIndex(of: 0x2F)
        let folder = cut.map { String(path[..<$0]) }.map { $0.isEmpty ? "/" : $0 } ?? "."
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SystemError("open \(folder)") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw SystemError("sync \(folder)") }
    }
}
