public import ATProto
public import Base
internal import Crypto
internal import Glibc

/// Whole repositories as CAR files, kept after they were streamed once, so that the web server can send them again.
///
/// A file is named by the commit that it begins with: what it holds never changes, and a repository that went on has
/// another name. It is a cache: every file may go at any time, and nothing is asked of it but speed. Who may have a
/// repository is asked before, each time.
public struct RepoArchive: Sendable {
    /// Bytes that all files together may have.
    public static let sizeMax = 1 << 30
    /// A shorter repository is made faster than a file is opened.
    static let fileSizeMin = 256 * 1_024
    /// A file that nobody asked for in this time goes.
    static let unusedSecondsMax: Int64 = 86_400
    /// A file that was asked for in this time stays: the web server may be about to open it.
    static let recentSeconds: Int64 = 60

    /// Where the files are: `<hash of the DID>-<CID of the commit>.car`.
    public let directory: String
    private let clock: Clock
    private let entropy: Entropy
    private let sizeMax: Int

    /// Makes the directory. nil when it can't be had, or its files would not have the group of those in `neighbour`,
    /// which the web server can read: then repositories are streamed.
    public init?(
        directory: String, beside neighbour: String, clock: Clock, entropy: Entropy, sizeMax: Int = sizeMax
    ) {
        var (here, there) = (stat(), stat())
        if mkdir(directory, 0o750) == 0, stat(neighbour, &there) == 0 {
            // Allowed when this process is a member of the group.
            _ = chown(directory, uid_t.max, there.st_gid)
            _ = chmod(directory, 0o2750)
        }
        guard stat(directory, &here) == 0, stat(neighbour, &there) == 0, here.st_gid == there.st_gid,
            access(directory, W_OK) == 0
        else { return nil }
        self.directory = directory
        self.clock = clock
        self.entropy = entropy
        self.sizeMax = sizeMax
    }

    // MARK: Reading

    /// The name under `directory` of the file of `did`'s repository at `commit`, if there is one.
    public func find(_ did: DID, at commit: CID) -> String? {
        let name = Self.name(did, commit)
        var status = stat()
        guard stat(path(name), &status) == 0 else { return nil }
        // How long ago it was used decides what goes first.
        if Int64(status.st_mtim.tv_sec) < clock.now().seconds - Self.recentSeconds / 4 { utimes(path(name), nil) }
        return name
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    private static func prefix(_ did: DID) -> String {
        String(decoding: Hex.encode(Array(SHA256.hash(did.bytes).bytes.prefix(8))), as: UTF8.self) + "-"
    }

    private static func name(_ did: DID, _ commit: CID) -> String { prefix(did) + "\(commit).car" }

    // MARK: Writing

    /// A file that is being written beside a stream. A failure of it is none of the stream's.
    final class Copy {
        private let archive: RepoArchive
        private let temporary: String
        private var held: [UInt8] = []
        private var file: FileHandle?
        private var size = 0
        private var writtenBack = 0
        private var isGivenUp = false

        fileprivate init(_ archive: RepoArchive, _ name: String) {
            self.archive = archive
            temporary = archive.path("tmp-\(name)")
        }

        deinit { if file != nil { unlink(temporary) } }

        func write(_ bytes: UnsafeRawBufferPointer) {
            if isGivenUp { return }
            size += bytes.count
            guard size <= archive.sizeMax / 4 else { return giveUp() }
            if file == nil, size <= RepoArchive.fileSizeMin { return held.append(contentsOf: bytes) }
            do throws(SystemError) {
                if file == nil { file = try begin() }
                guard let file else { return }
                try file.write(bytes)
                if size - writtenBack >= 4 << 20 {
                    file.startWriteBack(offset: writtenBack, count: size - writtenBack)
                    writtenBack = size
                }
            } catch {
                giveUp()
            }
        }

        private func begin() throws(SystemError) -> FileHandle {
            let file = try FileHandle.create(temporary, mode: 0o640)
            self.file = file
            try Bytes(held).withUnsafeBytes { (bytes) throws(SystemError) in try file.write(bytes) }
            held = []
            return file
        }

        private func giveUp() {
            isGivenUp = true
            held = []
            if file != nil { unlink(temporary) }
            file = nil
        }

        /// Gives the file its name. `isCurrent` is asked last: when it says no, the file goes again.
        func finish(_ did: DID, at commit: CID, isCurrent: () -> Bool) {
            // Synced, because a name that outlives a power failure must not name half a repository.
            guard let file, !isGivenUp, fsync(file.descriptor) == 0, archive.makeRoom(for: size, of: did) else {
                return giveUp()
            }
            let path = archive.path(RepoArchive.name(did, commit))
            guard rename(temporary, path) == 0 else { return giveUp() }
            self.file = nil
            if !isCurrent() { unlink(path) }
        }
    }

    /// A copy of what is about to be streamed, or nil when no name can be had for it.
    func copy() -> Copy? {
        guard let random = try? entropy.bytes(16) else { return nil }
        return Copy(self, String(decoding: Hex.encode(random), as: UTF8.self))
    }

    // MARK: Removing

    private struct Entry {
        let name: String
        let size: Int
        let used: Int64
    }

    private func entries() -> [Entry] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var entries: [Entry] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            var status = stat()
            guard lstat(path(name), &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            entries.append(Entry(name: name, size: Int(status.st_size), used: Int64(status.st_mtim.tv_sec)))
        }
        return entries.sorted { ($0.used, $0.name) < ($1.used, $1.name) }
    }

    /// Removes older states of the repository of `did`, and what was used longest ago, until `size` bytes fit in.
    private func makeRoom(for size: Int, of did: DID) -> Bool {
        let (prefix, recent) = (Self.prefix(did), clock.now().seconds - Self.recentSeconds)
        let entries = entries()
        var total = entries.reduce(size) { $0 + $1.size }
        // The file that is to be placed is among them, under its temporary name.
        total -= size
        for entry in entries where entry.used < recent {
            guard total > sizeMax || entry.name.hasPrefix(prefix) else { continue }
            if unlink(path(entry.name)) == 0 { total -= entry.size }
        }
        return total <= sizeMax
    }

    /// Removes every file of the repository of `did`: when its account is deleted, after that is committed.
    public func remove(_ did: DID) {
        let prefix = Self.prefix(did)
        for entry in entries() where entry.name.hasPrefix(prefix) { unlink(path(entry.name)) }
    }

    /// Removes what nobody asked for in a day, and what was broken off. Returns how many went.
    public func trim() -> Int {
        let oldest = clock.now().seconds - Self.unusedSecondsMax
        return entries().filter { $0.used < oldest && unlink(path($0.name)) == 0 }.count
    }
}

extension RepoStore {
    /// `export` of a whole repository, which is kept in the archive on the way, if there is one.
    public func exportKeeping(_ did: DID, to sink: CARWriter.Sink) throws {
        guard let copy = archive?.copy() else { return try export(did, to: sink) }
        var commit: CID?
        try export(did, since: nil, began: { commit = $0.commit }) { piece in
            copy.write(piece)
            try sink(piece)
        }
        guard let commit else { return }
        // An account that was deleted meanwhile had its files removed before this one had its name.
        copy.finish(did, at: commit) {
            guard let state = try? state(of: did) else { return false }
            return state.commit == commit && state.status != .deleted
        }
    }
}
