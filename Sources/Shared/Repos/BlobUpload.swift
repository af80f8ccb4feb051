internal import ATProto
internal import Base
internal import Crypto
internal import Glibc

/// Why an upload was not taken.
public enum BlobUploadError: Error, Equatable, Sendable {
    case tooLarge(max: Int)
    case empty
    /// This account's blob with these bytes is taken down.
    case takenDown
}

/// A blob that is being taken, piece by piece: written to a temporary file and hashed on the way.
public final class BlobUpload {
    /// Write-back is started each time this many bytes have come, so that the last sync finds little to do.
    private static let writeBackSize = 1 << 20

    private let store: BlobStore
    private let temporary: String
    private let file: FileHandle
    private var hash = SHA256()
    private var size = 0
    private var writtenBack = 0
    private var isDiscarded = false
    /// The first bytes, to recognise the type by.
    private(set) var prefix = Bytes()

    init(_ store: BlobStore, entropy: Entropy) throws {
        self.store = store
        let name = String(decoding: Hex.encode(try entropy.bytes(16)), as: UTF8.self)
        temporary = "\(store.directory)/tmp/\(name)"
        file = try FileHandle.create(temporary, mode: 0o640)
    }

    deinit { discard() }

    /// Takes the next piece. Throws `BlobUploadError.tooLarge` as soon as there is more than the limit.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count <= store.sizeMax - size else { throw BlobUploadError.tooLarge(max: store.sizeMax) }
        if prefix.count < MediaType.prefixSize {
            let more = UnsafeRawBufferPointer(rebasing: bytes.prefix(MediaType.prefixSize - prefix.count))
            prefix = prefix + Bytes(more)
        }
        hash.update(bytes)
        try file.write(bytes)
        size += bytes.count
        if size - writtenBack >= Self.writeBackSize {
            file.startWriteBack(offset: writtenBack, count: size - writtenBack)
            writtenBack = size
        }
    }

    /// The whole blob's CID and size, once all of it is on the disk.
    func seal() throws -> (cid: CID, size: Int) {
        guard size > 0 else { throw BlobUploadError.empty }
        try file.sync()
        return (CID(codec: .raw, digest: hash.finish()), size)
    }

    /// Gives the file its name, durably. Nothing happens when there is one: the name says what is in it.
    func place(_ cid: CID) throws {
        let path = store.path(cid)
        let folder = BlobFiles.folder(of: path)
        try BlobFiles.makeDirectory(folder)
        guard link(temporary, path) == 0 || SystemError.lastErrno == EEXIST else { throw SystemError("link blob") }
        try FileHandle.syncDirectory(folder)
    }

    /// Removes the temporary file.
    func discard() {
        if isDiscarded { return }
        isDiscarded = true
        unlink(temporary)
    }
}

/// The CID of a blob whose bytes come in pieces.
struct BlobHash {
    private var hash = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bytes) }

    var cid: CID {
        mutating get { CID(codec: .raw, digest: hash.finish()) }
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

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func remove(_ path: String) { unlink(path) }

    /// Moves a file, durably; nothing happens when it is not there.
    static func move(_ path: String, to other: String) throws(SystemError) {
        guard rename(path, other) == 0 else {
            if SystemError.lastErrno == ENOENT { return }
            throw SystemError("rename blob")
        }
        try FileHandle.syncDirectory(folder(of: other))
        try FileHandle.syncDirectory(folder(of: path))
    }

    /// Gives a file a second name, durably.
    static func link(_ path: String, to other: String) throws(SystemError) {
        try makeDirectory(folder(of: other))
        guard Glibc.link(path, other) == 0 || SystemError.lastErrno == EEXIST else { throw SystemError("link blob") }
        try FileHandle.syncDirectory(folder(of: other))
    }

    static func folder(of path: String) -> String { String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }

    /// The file's length in bytes; nil when it is not there.
    static func size(_ path: String) throws(SystemError) -> Int? { try status(path).map { Int($0.st_size) } }

    /// When the file or its names were last changed; nil when it is not there.
    static func changed(_ path: String) throws(SystemError) -> Timestamp? {
        try status(path).map { Timestamp(seconds: Int64($0.st_ctim.tv_sec)) }
    }

    private static func status(_ path: String) throws(SystemError) -> stat? {
        var status = stat()
        if lstat(path, &status) == 0 { return status }
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
    static func removeOld(in directory: String, before moment: Timestamp) {
        guard let stream = opendir(directory) else { return }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            let path = "\(directory)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            if Int64(status.st_mtim.tv_sec) < moment.seconds { unlink(path) }
        }
    }
}
