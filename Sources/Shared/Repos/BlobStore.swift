public import ATProto
public import Base
public import Storage

/// Blobs: rows that say whose they are, and objects with their bytes.
///
/// A blob is temporary until a record names it; temporary ones are not served and go after a grace. Its bytes are one
/// object, on the disk or in a bucket, whatever number of accounts has the blob. An object is stored under a
/// reservation (a row of `blob_leftover`) and becomes the blob's in the transaction that makes the blob; one that
/// nobody has any more gets such a row in the transaction that finds that out, and is removed after it. So neither
/// files nor requests are ever part of a transaction, and what a crash leaves is known.
public struct BlobStore: Sendable {
    let database: any Database
    let clock: Clock
    /// Where uploads are while they come, and the place `disk`.
    let directory: String
    let places: BlobPlaces
    /// The longest blob, in bytes.
    public let sizeMax: Int
    /// Bytes of blobs that this process took in, and that it sent or had sent.
    public let bytesReceived = Counter()
    public let bytesSent = Counter()
    let quota: StorageQuota

    /// Makes the directory. `s3` is the other place, when there is one; `target` is where new blobs go, and must be
    /// a place that is there for anything to be taken.
    public init(
        database: any Database, clock: Clock, directory: String, sizeMax: Int, quota: StorageQuota = .none,
        s3: (any BlobStorage)? = nil, target: BlobPlace = .disk
    ) throws(SystemError) {
        self.database = database
        self.clock = clock
        self.directory = directory
        self.sizeMax = sizeMax
        self.quota = quota
        places = BlobPlaces(disk: BlobDisk(directory: directory), s3: s3, target: target)
        try BlobFiles.makeDirectory(directory)
        try BlobFiles.makeDirectory(uploads)
    }

    /// Where files are until they are whole.
    var uploads: String { directory + "/tmp" }

    /// A blob as it is served.
    public struct Entry: Sendable, Equatable {
        public let cid: CID
        public let mimeType: Bytes
        public let size: Int
        let place: BlobPlace
        let object: BlobObject

        /// Its file under the directory, for the web server to send; nil when there is no file.
        public var file: Bytes? { place == .disk ? object.name : nil }
    }

    // MARK: Writing

    /// Begins to take a blob.
    public func begin(entropy: Entropy) throws -> BlobUpload {
        try BlobUpload(in: uploads, sizeMax: sizeMax, entropy: entropy)
    }

    /// Ties a finished upload to an account, durably. The blob is temporary until a record names it; records that came
    /// by an import may do so already.
    ///
    /// `declared` is the caller's media type; what the bytes show counts more. Throws `BlobUploadError`,
    /// `BlobStorageError`, `RepoError.quotaExceeded`, and what the place throws.
    public func finish(_ upload: BlobUpload, of did: DID, declared: Bytes?) throws -> BlobReference {
        let (cid, size) = try upload.seal()
        defer { upload.discard() }
        let blob = BlobReference(
            cid: cid, mimeType: MediaType.decide(declared: declared, prefix: upload.prefix), size: Int64(size))
        let object = BlobObject(cid: cid, generation: upload.name)
        var kept = try database.write { writer -> Bytes? in
            guard try !TakedownStore.isTakenDown(cid, of: did, in: writer) else { throw BlobUploadError.takenDown }
            if try Self.hasObject(cid, in: writer) { return try insert(blob, size, of: did, in: writer) }
            try quota.check(did, growth: size, comes: true, in: writer)
            try reserve(object, in: writer)
            return nil
        }
        if kept == nil {
            kept = try store(object, BlobFile(upload, size: size, mimeType: blob.mimeType)) { writer in
                try insert(blob, size, of: did, in: writer)
            }
        }
        bytesReceived.add(size)
        return BlobReference(cid: cid, mimeType: kept ?? blob.mimeType, size: blob.size)
    }

    /// Returns the media type that the blob has: that of its first upload.
    private func insert(_ blob: BlobReference, _ size: Int, of did: DID, in writer: any Writer) throws -> Bytes {
        let (now, cid) = (clock.now(), blob.cid)
        let kept = try writer.first("SELECT mime_type FROM blob WHERE did = \(did.sql) AND cid = \(cid.sql)") {
            try $0.text(0)
        }
        if let kept {
            try writer.run("UPDATE blob SET created_at = \(now) WHERE did = \(did.sql) AND cid = \(cid.sql)")
            return kept
        }
        try writer.run(
            """
            INSERT INTO blob (did, cid, mime_type, size, created_at, temporary)
            VALUES (\(did.sql), \(cid.sql), \(SQL.Value.text(blob.mimeType)), \(size), \(now),
                CASE WHEN EXISTS (
                    SELECT 1 FROM repo p JOIN blob_reference r ON r.repo = p.id
                    WHERE p.did = \(did.sql) AND r.cid = \(cid.sql)) THEN 0 ELSE 1 END)
            """)
        try writer.run("UPDATE repo SET blob_bytes = blob_bytes + \(size) WHERE did = \(did.sql)")
        try quota.check(did, growth: size, in: writer)
        return blob.mimeType
    }

    // MARK: Reading

    /// A blob that a record of `did` names and that is not taken down, or nil.
    public func find(_ cid: CID, of did: DID) throws -> Entry? {
        try database.first(
            """
            SELECT mime_type, size, place, generation FROM blob JOIN blob_object ON blob_object.cid = blob.cid
            WHERE did = \(did.sql) AND blob.cid = \(cid.sql) AND temporary = 0
            AND NOT EXISTS (SELECT 1 FROM blob_takedown t WHERE t.did = blob.did AND t.cid = blob.cid)
            """
        ) {
            Entry(
                cid: cid, mimeType: try $0.text(0), size: try $0.integer(1), place: try $0.blobPlace(2),
                object: BlobObject(cid: cid, generation: try $0.text(3)))
        }
    }

    /// Opens the bytes of a blob, or those of `range`, of whichever place. Throws `RepoError.blobNotFound` when they
    /// are gone, `BlobStorageError.wrongSize`, and what the place throws.
    public func open(_ entry: Entry, range: Range<Int>? = nil) throws -> BlobContent {
        guard let content = try places[entry.place].open(entry.object, range: range) else {
            throw RepoError.blobNotFound(entry.cid)
        }
        guard content.size == range?.count ?? entry.size else { throw BlobStorageError.wrongSize(entry.cid) }
        return content
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
