public import ATProto
public import Base
public import Storage

/// How many bytes one account may take up with records and blobs. Both are nil where there is no bound.
public struct StorageQuota: Sendable {
    /// Above it the operator is told.
    public let soft: Int?
    /// What would go above it is refused. Removing always works.
    public let hard: Int?

    public init(soft: Int? = nil, hard: Int? = nil) {
        self.soft = soft
        self.hard = hard
    }

    public static let none = StorageQuota()

    /// Throws `RepoError.quotaExceeded` when the account takes up more than it may, after `growth` more bytes; those
    /// are counted already unless they only `come`.
    func check(_ did: DID, growth: Int, comes: Bool = false, in reader: any Reader) throws {
        guard let hard, growth > 0 else { return }
        let used = try reader.first("SELECT record_bytes + blob_bytes FROM repo WHERE did = \(did.sql)") {
            try $0.integer(0)
        }
        if let used, used > hard - (comes ? min(growth, hard) : 0) { throw RepoError.quotaExceeded(max: hard) }
    }
}

/// What one account takes up.
public struct StorageUse: Sendable, Equatable {
    /// Records of one collection.
    public struct Collection: Sendable, Equatable {
        public let name: Bytes
        public let count: Int
        public let bytes: Int
    }

    /// Bytes of all records' blocks.
    public let recordBytes: Int
    /// Bytes of all blobs, those that no record names yet included.
    public let blobBytes: Int
    public let blobCount: Int
    /// In the order of their names.
    public let collections: [Collection]

    public var bytes: Int { recordBytes + blobBytes }

    /// Accounts that take up more than `bytes`, the largest first, at most `limit`.
    public static func accounts(
        above bytes: Int, limit: Int, in database: any Database
    ) throws -> [(did: DID, bytes: Int)] {
        try database.read { reader in
            try reader.all(
                """
                SELECT did, record_bytes + blob_bytes FROM repo WHERE record_bytes + blob_bytes > \(bytes)
                ORDER BY record_bytes + blob_bytes DESC LIMIT \(limit)
                """
            ) { (try $0.did(0), try $0.integer(1)) }
        }
    }
}

extension RepoStore {
    /// Bytes of records and blobs of each account, in the order of `dids`; 0 for one that has no repository.
    public func storageBytes(of dids: [DID]) throws -> [Int] {
        try database.read { reader in
            try dids.map { did in
                try reader.first("SELECT record_bytes + blob_bytes FROM repo WHERE did = \(did.sql)") {
                    try $0.integer(0)
                } ?? 0
            }
        }
    }

    /// What the account takes up, counted by collection: reads the whole of its record table, but for the records.
    ///
    /// Throws `RepoError.repoNotFound`.
    public func storageUse(of did: DID) throws -> StorageUse {
        try database.read { reader in
            let repo = try RepoState.find(did, reader).id
            let total = try reader.first("SELECT record_bytes, blob_bytes FROM repo WHERE id = \(repo)") {
                (records: try $0.integer(0), blobs: try $0.integer(1))
            }
            let blobCount = try reader.first("SELECT count(*) FROM blob WHERE did = \(did.sql)") { try $0.integer(0) }
            var collections: [StorageUse.Collection] = []
            var start = Bytes()
            // One range of keys for each collection, as `RecordStore.collections` finds them.
            while collections.count < RecordStore.collectionsMax {
                let key = try reader.first(
                    "SELECT key FROM record WHERE repo = \(repo) AND key >= \(start) ORDER BY key LIMIT 1"
                ) { try $0.bytes(0) }
                guard let key, let path = RepoPath(key) else { break }
                let end = path.collection.bytes + "0"
                let counted = try reader.first(
                    """
                    SELECT count(*), coalesce(sum(length(value)), 0) FROM record
                    WHERE repo = \(repo) AND key >= \(key) AND key < \(end)
                    """
                ) { row in
                    StorageUse.Collection(
                        name: path.collection.bytes, count: try row.integer(0), bytes: try row.integer(1))
                }
                if let counted { collections.append(counted) }
                start = end
            }
            return StorageUse(
                recordBytes: total?.records ?? 0, blobBytes: total?.blobs ?? 0, blobCount: blobCount ?? 0,
                collections: collections)
        }
    }
}

extension RecordRows {
    /// By how many bytes `changes` make the records longer. What is replaced or removed is asked for; a new record
    /// costs nothing.
    static func growth(of changes: [RecordChange], repo: Int, _ reader: any Reader) throws -> Int {
        var growth = 0
        for change in changes {
            growth += change.after?.bytes.count ?? 0
            guard change.before != nil else { continue }
            let old = try reader.first(
                "SELECT length(value) FROM record WHERE repo = \(repo) AND key = \(change.path.bytes)"
            ) { try $0.integer(0) }
            growth -= old ?? 0
        }
        return growth
    }
}
