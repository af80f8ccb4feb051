public import ATProto
public import Base
public import Storage

/// Blobs: files named by their CID, and rows that say whose they are.
///
/// A file is on the disk before its row is committed. A row is temporary until a record names its blob; temporary ones
/// are not served and go after a grace.
public struct BlobStore: Sendable {
    let database: any Database
    let clock: Clock
    /// Where the files are: `<directory>/<last two characters of the CID>/<CID>`.
    public let directory: String
    /// The longest blob, in bytes.
    public let sizeMax: Int
    /// Bytes of blobs that this process took in, and that it sent or had sent.
    public let bytesReceived = Counter()
    public let bytesSent = Counter()
    let quota: StorageQuota

    /// Makes the directory.
    public init(
        database: any Database, clock: Clock, directory: String, sizeMax: Int, quota: StorageQuota = .none
    ) throws(SystemError) {
        self.database = database
        self.clock = clock
        self.directory = directory
        self.sizeMax = sizeMax
        self.quota = quota
        try BlobFiles.makeDirectory(directory)
        try BlobFiles.makeDirectory(directory + "/tmp")
        try BlobFiles.makeDirectory(trash)
    }

    /// A blob as it is served.
    public struct Entry: Sendable, Equatable {
        public let cid: CID
        public let mimeType: Bytes
        public let size: Int
    }

    // MARK: Writing

    /// Begins to take a blob.
    public func begin(entropy: Entropy) throws -> BlobUpload { try BlobUpload(self, entropy: entropy) }

    /// Ties a finished upload to an account, durably. The blob is temporary until a record names it; records that came
    /// by an import may do so already.
    ///
    /// `declared` is the caller's media type; what the bytes show counts more. Throws `BlobUploadError`, and
    /// `RepoError.quotaExceeded`.
    public func finish(_ upload: BlobUpload, of did: DID, declared: Bytes?) throws -> BlobReference {
        let (cid, size) = try upload.seal()
        defer { upload.discard() }
        guard try !database.read({ try TakedownStore.isTakenDown(cid, of: did, in: $0) }) else {
            throw BlobUploadError.takenDown
        }
        let mimeType = MediaType.decide(declared: declared, prefix: upload.prefix)
        try upload.place(cid)
        do {
            let kept = try database.write { try insert(cid, size, mimeType, of: did, upload, in: $0) }
            bytesReceived.add(size)
            return BlobReference(cid: cid, mimeType: kept, size: Int64(size))
        } catch {
            // Best effort: the file stays when a row names it, or when the database can't be asked.
            try? database.write { writer in
                if try !Self.isNamed(cid, in: writer) { BlobFiles.remove(path(cid)) }
            }
            throw error
        }
    }

    /// Returns the media type that the blob has: that of its first upload.
    private func insert(
        _ cid: CID, _ size: Int, _ mimeType: Bytes, of did: DID, _ upload: BlobUpload, in writer: any Writer
    ) throws -> Bytes {
        let now = clock.now()
        let kept = try writer.first("SELECT mime_type FROM blob WHERE did = \(did.sql) AND cid = \(cid.sql)") {
            try $0.text(0)
        }
        if kept == nil {
            try writer.run(
                """
                INSERT INTO blob (did, cid, mime_type, size, created_at, temporary)
                VALUES (\(did.sql), \(cid.sql), \(SQL.Value.text(mimeType)), \(size), \(now),
                    CASE WHEN EXISTS (
                        SELECT 1 FROM repo p JOIN blob_reference r ON r.repo = p.id
                        WHERE p.did = \(did.sql) AND r.cid = \(cid.sql)) THEN 0 ELSE 1 END)
                """)
            try writer.run("UPDATE repo SET blob_bytes = blob_bytes + \(size) WHERE did = \(did.sql)")
            try quota.check(did, growth: size, in: writer)
        } else {
            try writer.run("UPDATE blob SET created_at = \(now) WHERE did = \(did.sql) AND cid = \(cid.sql)")
        }
        // The file is moved away in a transaction that has found no row: should that have come between, it is put back
        // here, where the row already stands.
        if !BlobFiles.exists(path(cid)) { try upload.place(cid) }
        return kept ?? mimeType
    }

    /// Whether any account has the blob.
    static func isNamed(_ cid: CID, in reader: any Reader) throws -> Bool {
        try reader.first("SELECT 1 FROM blob WHERE cid = \(cid.sql) LIMIT 1") { _ in true } ?? false
    }

    // MARK: Reading

    /// The path of a blob under `directory`.
    public func relativePath(_ cid: CID) -> String {
        let text = String(decoding: cid.text, as: UTF8.self)
        return "\(text.suffix(2))/\(text)"
    }

    func path(_ cid: CID) -> String { directory + "/" + relativePath(cid) }

    /// A blob that a record of `did` names and that is not taken down, or nil.
    public func find(_ cid: CID, of did: DID) throws -> Entry? {
        try database.first(
            """
            SELECT mime_type, size FROM blob
            WHERE did = \(did.sql) AND cid = \(cid.sql) AND temporary = 0
            AND NOT EXISTS (SELECT 1 FROM blob_takedown t WHERE t.did = blob.did AND t.cid = blob.cid)
            """
        ) { Entry(cid: cid, mimeType: try $0.text(0), size: try $0.integer(1)) }
    }

    /// Whether the account has the blob, or a record of it names one with this CID.
    public func isKnown(_ cid: CID, of did: DID) throws -> Bool {
        try database.read { reader in
            let own = try reader.first("SELECT 1 FROM blob WHERE did = \(did.sql) AND cid = \(cid.sql)") { _ in true }
            if own == true { return true }
            let repo = try RepoState.find(did, reader).id
            return try reader.first(
                "SELECT 1 FROM blob_reference WHERE repo = \(repo) AND cid = \(cid.sql) LIMIT 1"
            ) { _ in true } == true
        }
    }

    /// Hands the bytes of a blob's file to `sink` in pieces. Returns false when there is no file.
    public func read(_ cid: CID, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        guard let file = try FileHandle.openExisting(path(cid)) else { return false }
        try withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { buffer in
            while true {
                let count = try file.read(into: buffer)
                if count == 0 { return }
                try sink(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
            }
        }
        return true
    }

    /// Blobs that records name and that are not taken down, by CID, after `cursor`; with `since`, only those that later
    /// revisions named.
    ///
    /// Throws `RepoError.repoNotFound`.
    public func list(of did: DID, since: TID? = nil, after cursor: CID? = nil, limit: Int) throws -> [CID] {
        try database.read { reader in
            let repo = try RepoState.find(did, reader).id
            let after = cursor.map { Bytes($0.bytes) } ?? Bytes()
            let since = since?.bytes ?? Bytes()
            return try reader.all(
                """
                SELECT DISTINCT cid FROM blob_reference
                WHERE repo = \(repo) AND cid > \(after) AND rev > \(SQL.Value.text(since))
                AND NOT EXISTS (
                    SELECT 1 FROM blob_takedown t WHERE t.did = \(did.sql) AND t.cid = blob_reference.cid)
                ORDER BY cid LIMIT \(limit)
                """
            ) { try $0.cid(0) }
        }
    }

    /// Blobs that records name and that are not here, each with the first record that does.
    public func missing(of did: DID, after cursor: CID? = nil, limit: Int) throws -> [(cid: CID, path: Bytes)] {
        try database.read { reader in
            let repo = try RepoState.find(did, reader).id
            let after = cursor.map { Bytes($0.bytes) } ?? Bytes()
            return try reader.all(
                """
                SELECT r.cid, r.key FROM blob_reference r
                WHERE r.repo = \(repo) AND r.cid > \(after)
                AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.did = \(did.sql) AND b.cid = r.cid)
                AND NOT EXISTS (
                    SELECT 1 FROM blob_reference e WHERE e.repo = r.repo AND e.cid = r.cid AND e.key < r.key)
                ORDER BY r.cid LIMIT \(limit)
                """
            ) { (try $0.cid(0), try $0.bytes(1)) }
        }
    }
}
