internal import Base
internal import Glibc

/// Blobs as files: `<directory>/<name of the object>`.
struct BlobDisk: BlobStorage {
    /// Bytes that are read at once.
    private static let pieceSize = 65_536

    let directory: String

    func path(_ object: BlobObject) -> String { "\(directory)/\(object.name)" }

    /// The file keeps its other name, which is the caller's to remove.
    func put(_ object: BlobObject, _ file: BlobFile) throws {
        try file.handle.sync()
        try BlobFiles.link(file.path, to: path(object))
    }

    func open(_ object: BlobObject, range: Range<Int>?) throws -> BlobContent? {
        guard let file = try FileHandle.openExisting(path(object)) else { return nil }
        let whole = 0..<(try file.size())
        let range = range ?? whole
        return BlobContent(size: range.count) { sink in
            try withUnsafeTemporaryAllocation(byteCount: Self.pieceSize, alignment: 16) { buffer in
                var offset = range.lowerBound
                while offset < range.upperBound {
                    let wanted = min(Self.pieceSize, range.upperBound - offset)
                    let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
                    let count = try file.read(at: offset, into: piece)
                    if count == 0 { throw BlobStorageError.wrongSize(object.cid) }
                    try sink(UnsafeRawBufferPointer(rebasing: piece[..<count]))
                    offset += count
                }
            }
        }
    }

    func size(of object: BlobObject) throws -> Int? { try BlobFiles.size(path(object)) }

    func remove(_ object: BlobObject) throws { try BlobFiles.remove(path(object)) }

    func eachName(_ body: (Bytes) throws -> Void) throws {
        for folder in try BlobFiles.names(in: directory) where folder.utf8.count == 2 {
            for name in try BlobFiles.names(in: "\(directory)/\(folder)") { try body(Bytes("\(folder)/\(name)")) }
        }
    }
}

/// What blobs need of the file system.
enum BlobFiles {
    /// Makes one directory, durably, when it is not there.
    static func makeDirectory(_ path: String) throws(SystemError) {
        if mkdir(path, 0o750) == 0 {
            let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
            try FileHandle.syncDirectory(parent.isEmpty ? "." : parent)
        } else if SystemError.lastErrno != EEXIST {
            throw SystemError("mkdir \(path)")
        }
    }

    /// Gives a file a second name, durably.
    static func link(_ path: String, to other: String) throws(SystemError) {
        let folder = folder(of: other)
        try makeDirectory(folder)
        guard Glibc.link(path, other) == 0 else { throw SystemError("link blob") }
        try FileHandle.syncDirectory(folder)
    }

    /// Removes a file; nothing happens when it is not there.
    static func remove(_ path: String) throws(SystemError) {
        guard unlink(path) == 0 || SystemError.lastErrno == ENOENT else { throw SystemError("remove blob") }
    }

    private static func folder(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }

    /// The file's length in bytes; nil when it is not there.
    static func size(_ path: String) throws(SystemError) -> Int? {
        var status = stat()
        if lstat(path, &status) == 0 { return Int(status.st_size) }
        if SystemError.lastErrno == ENOENT { return nil }
        throw SystemError("stat blob")
    }

    /// What is in a directory, but for names that begin with a dot; nothing when it is not there.
    static func names(in directory: String) throws(SystemError) -> [String] {
        guard let stream = opendir(directory) else {
            if SystemError.lastErrno == ENOENT { return [] }
            throw SystemError("open \(directory)")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.utf8.first != 0x2E { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes files of `directory` that were last written before `moment`.
    static func removeOld(in directory: String, before moment: Timestamp) throws(SystemError) {
        for name in try names(in: directory) {
            let path = "\(directory)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            if Int64(status.st_mtim.tv_sec) < moment.seconds { try remove(path) }
        }
    }
}
