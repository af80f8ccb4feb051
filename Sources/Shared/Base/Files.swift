internal import Glibc

/// Whole files, with a cap on the way in and durability on the way out. Paths come from settings, never from a request.
public enum Files {
    /// All bytes of the file at `path`. Throws `SystemError` (EFBIG when it is longer than `sizeMax` bytes).
    public static func read(_ path: String, sizeMax: Int) throws(SystemError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw SystemError("open \(path)") }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0 && SystemError.lastErrno == EINTR { continue }
            guard count >= 0 else { throw SystemError("read \(path)") }
            if count == 0 { return bytes }
            bytes.append(contentsOf: buffer[..<count])
            guard bytes.count <= sizeMax else { throw SystemError("read \(path)", errno: EFBIG) }
        }
    }

    /// Puts `bytes` at `path` so that a crash leaves the old file or the new one, whole: temporary file, fsync,
    /// rename, fsync of the directory. `mode` is set before the first byte is written, whatever the umask.
    public static func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(SystemError) {
        let temporary = "\(path).\(getpid()).tmp"
        try create(temporary, bytes, mode: mode)
        guard rename(temporary, path) == 0 else {
            let error = SystemError("rename \(temporary)")
            unlink(temporary)
            throw error
        }
        try syncDirectory(of: path)
    }

    /// Like `write`, but never over a file that is there: two processes that make the same key agree on the first.
    /// Returns false, and changes nothing, when `path` exists.
    public static func writeIfAbsent(_ bytes: [UInt8], to path: String, mode: UInt32) throws(SystemError) -> Bool {
        let temporary = "\(path).\(getpid()).tmp"
        try create(temporary, bytes, mode: mode)
        defer { unlink(temporary) }
        guard link(temporary, path) == 0 else {
            if SystemError.lastErrno == EEXIST { return false }
            throw SystemError("link \(path)")
        }
        try syncDirectory(of: path)
        return true
    }

    /// Makes the directory `path` and its missing parents, each with `mode`. One that is there stays as it is.
    public static func makeDirectory(_ path: String, mode: UInt32) throws(SystemError) {
        if mkdir(path, mode) == 0 || SystemError.lastErrno == EEXIST { return }
        guard SystemError.lastErrno == ENOENT, let parent = parent(of: path) else { throw SystemError("mkdir \(path)") }
        try makeDirectory(parent, mode: mode)
        guard mkdir(path, mode) == 0 || SystemError.lastErrno == EEXIST else { throw SystemError("mkdir \(path)") }
    }

    /// The paths of the files under `path` whose names end in `ending`, sorted by their bytes. Names that begin with a
    /// dot are passed over; links are followed. Throws `SystemError`: E2BIG for more than `countMax` of them, ELOOP for
    /// directories deeper than `depthMax`.
    public static func list(
        _ path: String, ending: String, countMax: Int, depthMax: Int
    ) throws(SystemError) -> [String] {
        var found: [String] = []
        var waiting = [(path: path, depth: 1)]
        while let next = waiting.popLast() {
            guard next.depth <= depthMax else { throw SystemError("list \(next.path)", errno: ELOOP) }
            for name in try names(in: next.path) where name.utf8.first != 0x2E {
                let inner = "\(next.path)/\(name)"
                var status = stat()
                guard stat(inner, &status) == 0 else { throw SystemError("stat \(inner)") }
                if status.st_mode & S_IFMT == S_IFDIR {
                    waiting.append((inner, next.depth + 1))
                } else if name.utf8.count >= ending.utf8.count,
                    name.utf8.suffix(ending.utf8.count).elementsEqual(ending.utf8)
                {
                    found.append(inner)
                }
                guard found.count + waiting.count <= countMax else {
                    throw SystemError("list \(path)", errno: E2BIG)
                }
            }
        }
        return found.sorted { Bytes($0) < Bytes($1) }
    }

    private static func names(in path: String) throws(SystemError) -> [String] {
        guard let directory = opendir(path) else { throw SystemError("opendir \(path)") }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let capacity = MemoryLayout.size(ofValue: entry.pointee.d_name)
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: capacity) { String(cString: $0) }
                })
        }
        return names
    }

    /// True when anything is at `path`.
    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// `path` from the root on: relative ones begin at the working directory.
    public static func absolute(_ path: String) -> String {
        if path.utf8.first == 0x2F { return path }
        guard let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        let rest = path.utf8.starts(with: "./".utf8) ? String(path.dropFirst(2)) : path
        return "\(String(cString: directory))/\(rest)"
    }

    private static func create(_ path: String, _ bytes: [UInt8], mode: UInt32) throws(SystemError) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard file >= 0 else { throw SystemError("create \(path)") }
        defer { close(file) }
        guard fchmod(file, mode) == 0 else { throw SystemError("chmod \(path)") }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                Glibc.write(file, raw.baseAddress.map { $0 + done }, raw.count - done)
            }
            if count < 0 && SystemError.lastErrno == EINTR { continue }
            guard count > 0 else { throw SystemError("write \(path)") }
            done += count
        }
        guard fsync(file) == 0 else { throw SystemError("fsync \(path)") }
    }

    private static func syncDirectory(of path: String) throws(SystemError) {
        let directory = open(parent(of: path) ?? ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SystemError("open directory of \(path)") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw SystemError("fsync directory of \(path)") }
    }

    private static func parent(of path: String) -> String? {
        guard let slash = path.utf8.lastIndex(of: 0x2F), slash > path.utf8.startIndex else { return nil }
        return String(path[..<slash])
    }
}
