internal import CSystem
internal import Glibc

/// A file descriptor that closes itself, for files that are written or read in pieces.
public final class FileHandle: Sendable {
    public let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// A new file, for writing. Throws `SystemError` (EEXIST when something is there).
    public static func create(_ path: String, mode: UInt32) throws(SystemError) -> FileHandle {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { throw SystemError("create \(path)") }
        return FileHandle(file)
    }

    /// A file for reading; nil when nothing is there.
    public static func openExisting(_ path: String) throws(SystemError) -> FileHandle? {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if file < 0, SystemError.lastErrno == ENOENT { return nil }
        guard file >= 0 else { throw SystemError("open \(path)") }
        return FileHandle(file)
    }

    /// A new file in `directory` without a name, for writing and reading: it is gone when this handle is, however the
    /// process ends.
    public static func temporary(in directory: String) throws(SystemError) -> FileHandle {
        // mkstemp puts letters in place of six X.
        var template = Array("\(directory)/.\(String(repeating: "X", count: 6))".utf8CString)
        let file = template.withUnsafeMutableBufferPointer { name in
            guard let path = name.baseAddress else { return Int32(-1) }
            let file = mkstemp(path)
            if file >= 0 {
                unlink(path)
                _ = fcntl(file, F_SETFD, FD_CLOEXEC)
            }
            return file
        }
        guard file >= 0 else { throw SystemError("create a temporary file in \(directory)") }
        return FileHandle(file)
    }

    /// Writes all of `bytes` at the end of what was written before.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0, SystemError.lastErrno == EINTR { continue }
            guard count > 0 else { throw SystemError("write") }
            done += count
        }
    }

    /// Reads up to `buffer.count` bytes; 0 means the end.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0, SystemError.lastErrno == EINTR { continue }
            guard count >= 0 else { throw SystemError("read") }
            return count
        }
    }

    /// Fills `buffer` from `offset` on, wherever the file was written or read last. Returns fewer bytes than
    /// `buffer.count` only when the file ends before.
    public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, offset + done)
            if count < 0, SystemError.lastErrno == EINTR { continue }
            guard count >= 0 else { throw SystemError("read") }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Starts to write `count` bytes from `offset` to the disk and waits for nothing, so that the final `sync` has
    /// little left to do. A hint: its failure means nothing.
    public func startWriteBack(offset: Int, count: Int) {
        _ = csystem_start_writeback(descriptor, Int64(offset), Int64(count))
    }

    /// The file's length in bytes.
    public func size() throws(SystemError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SystemError("fstat") }
        return Int(status.st_size)
    }

    /// Waits until all of the file is on the disk.
    public func sync() throws(SystemError) {
        guard fsync(descriptor) == 0 else { throw SystemError("fsync") }
    }

    /// Waits until the names in the directory `path` are on the disk.
    public static func syncDirectory(_ path: String) throws(SystemError) {
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SystemError("open \(path)") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw SystemError("fsync \(path)") }
    }
}
