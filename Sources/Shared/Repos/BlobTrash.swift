public import ATProto
internal import Base
internal import Storage

/// How blobs go: unnamed for a grace, then in the trash, from which the operator can bring them back, then gone.
///
/// A file leaves its place only in a transaction that finds no row for it, and that changes nothing itself: whatever
/// breaks off, a row never lacks its file.
extension BlobStore {
    /// How long an unnamed blob is kept: the protocol asks for an hour at least (https://atproto.com/specs/blob).
    public static let graceSeconds: Int64 = 6 * 3_600
    /// How long a removed blob can be brought back.
    public static let trashSeconds: Int64 = 3 * 86_400
    /// Blobs that one call of `purge` or `emptyTrash` removes.
    public static let purgeBatch = 200

    var trash: String { directory + "/trash" }

    private func trashPath(_ cid: CID) -> String { "\(trash)/\(String(decoding: cid.text, as: UTF8.self))" }

    /// Puts blobs that no record has named for longer than the grace into the trash, and removes what uploads that
    /// broke off left behind. Returns how many blobs went: call again until it is 0.
    public func purge() throws -> Int {
        let now = clock.now()
        let deadline = now.adding(seconds: -Self.graceSeconds)
        BlobFiles.removeOld(in: directory + "/tmp", before: deadline)
        let batch = Self.purgeBatch
        let due = try database.write { writer in
            let due = try writer.all(
                """
                SELECT did, cid, mime_type, size FROM blob WHERE temporary = 1 AND created_at < \(deadline)
                LIMIT \(batch)
                """
            ) { (did: try $0.did(0), cid: try $0.cid(1), mimeType: try $0.text(2), size: try $0.integer(3)) }
            for blob in due {
                try writer.run("DELETE FROM blob WHERE did = \(blob.did.sql) AND cid = \(blob.cid.sql)")
                try writer.run("UPDATE repo SET blob_bytes = blob_bytes - \(blob.size) WHERE did = \(blob.did.sql)")
                try writer.run(
                    """
                    INSERT INTO blob_trash (did, cid, mime_type, size, trashed_at)
                    VALUES (\(blob.did.sql), \(blob.cid.sql), \(SQL.Value.text(blob.mimeType)), \(blob.size), \(now))
                    ON CONFLICT (did, cid) DO UPDATE SET trashed_at = excluded.trashed_at
                    """)
            }
            return due.map(\.cid)
        }
        for cid in due { try moveAway(cid) }
        return due.count
    }

    /// Moves a file that no row names into the trash.
    private func moveAway(_ cid: CID) throws {
        try database.write { writer in
            guard try !Self.isNamed(cid, in: writer) else { return }
            try BlobFiles.move(path(cid), to: trashPath(cid))
        }
    }

    /// Removes for good what has been in the trash for `trashSeconds`. Returns how many blobs went: call again until it
    /// is 0.
    public func emptyTrash() throws -> Int {
        let deadline = clock.now().adding(seconds: -Self.trashSeconds)
        let batch = Self.purgeBatch
        // Files whose blobs were brought back, or whose row went with a process that ended right then.
        for name in try BlobFiles.names(in: trash) {
            guard let cid = CID(text: Bytes(name)), let changed = try BlobFiles.changed(trashPath(cid)),
                changed < deadline
            else { continue }
            try database.write { writer in
                let row = try writer.first("SELECT 1 FROM blob_trash WHERE cid = \(cid.sql) LIMIT 1") { _ in true }
                if row == nil { BlobFiles.remove(trashPath(cid)) }
            }
        }
        return try database.write { writer in
            let due = try writer.all(
                "SELECT did, cid FROM blob_trash WHERE trashed_at < \(deadline) LIMIT \(batch)"
            ) { (did: try $0.did(0), cid: try $0.cid(1)) }
            for (did, cid) in due { try removeFromTrash(cid, of: did, in: writer) }
            return due.count
        }
    }

    /// Removes blobs of one account from the trash for good, at most `limit`. Returns how many.
    func emptyTrash(of did: DID, limit: Int, in writer: any Writer) throws -> Int {
        let cids = try writer.all("SELECT cid FROM blob_trash WHERE did = \(did.sql) LIMIT \(limit)") { try $0.cid(0) }
        for cid in cids { try removeFromTrash(cid, of: did, in: writer) }
        return cids.count
    }

    private func removeFromTrash(_ cid: CID, of did: DID, in writer: any Writer) throws {
        try writer.run("DELETE FROM blob_trash WHERE did = \(did.sql) AND cid = \(cid.sql)")
        let others = try writer.first("SELECT 1 FROM blob_trash WHERE cid = \(cid.sql) LIMIT 1") { _ in true }
        guard others == nil else { return }
        BlobFiles.remove(trashPath(cid))
        // The process that should have moved it ended before.
        if try !Self.isNamed(cid, in: writer) { BlobFiles.remove(path(cid)) }
    }

    /// Brings an account's blobs back from the trash: `cid`, or all. One that no record names begins its grace anew.
    ///
    /// Returns how many came back. Throws `RepoError.repoNotFound`, `quotaExceeded`, and `blobNotFound` for a file that
    /// is gone.
    public func restore(_ cid: CID? = nil, of did: DID) throws -> Int {
        let now = clock.now()
        let (some, wanted) = (cid == nil ? 1 : 0, cid.map { Bytes($0.bytes) } ?? Bytes())
        return try database.write { writer in
            let repo = try RepoState.find(did, writer).id
            let found = try writer.all(
                """
                SELECT cid, mime_type, size FROM blob_trash WHERE did = \(did.sql) AND (\(some) = 1 OR cid = \(wanted))
                """
            ) { (cid: try $0.cid(0), mimeType: try $0.text(1), size: try $0.integer(2)) }
            var count = 0
            for blob in found {
                if BlobFiles.exists(trashPath(blob.cid)), !BlobFiles.exists(path(blob.cid)) {
                    try BlobFiles.link(trashPath(blob.cid), to: path(blob.cid))
                }
                guard BlobFiles.exists(path(blob.cid)) else { throw RepoError.blobNotFound(blob.cid) }
                try writer.run("DELETE FROM blob_trash WHERE did = \(did.sql) AND cid = \(blob.cid.sql)")
                let inserted = try writer.run(
                    """
                    INSERT INTO blob (did, cid, mime_type, size, created_at, temporary)
                    VALUES (\(did.sql), \(blob.cid.sql), \(SQL.Value.text(blob.mimeType)), \(blob.size), \(now),
                        CASE WHEN EXISTS (
                            SELECT 1 FROM blob_reference r WHERE r.repo = \(repo) AND r.cid = \(blob.cid.sql))
                        THEN 0 ELSE 1 END)
                    ON CONFLICT (did, cid) DO NOTHING
                    """)
                guard inserted == 1 else { continue }
                try writer.run("UPDATE repo SET blob_bytes = blob_bytes + \(blob.size) WHERE did = \(did.sql)")
                try quota.check(did, growth: blob.size, in: writer)
                count += 1
            }
            return count
        }
    }

    // MARK: Checking

    /// What a check of blobs found wrong.
    public enum Problem: Sendable, Equatable {
        /// A row whose file is not there.
        case missing(DID, CID)
        /// A file that is not what its name says.
        case damaged(CID)
        /// A row with another size than its file.
        case size(DID, CID)
        /// A file that no row names, by its path under `directory`.
        case unnamed(String)
        /// What the account's blobs are said to take up is not what they do.
        case storageUse(DID, stored: Int, counted: Int)
    }

    /// Rows that one statement of `check` fetches.
    private static let checkBatch = 500

    /// Holds every row against its file and every file against the rows; with `hashing`, reads each file once and
    /// hashes it. `progress` hears of how many blobs were looked at and of how many there are.
    ///
    /// What is uploaded or removed meanwhile is no problem: what looks like one is looked at again.
    public func check(
        hashing: Bool, progress: (_ done: Int, _ all: Int) -> Void, _ found: (Problem) throws -> Void
    ) throws {
        let all = try database.read { try $0.first("SELECT count(*) FROM blob") { try $0.integer(0) } } ?? 0
        var (done, did, cid) = (0, Bytes(), Bytes())
        while true {
            let batch = Self.checkBatch
            let rows = try database.read { reader in
                try reader.all(
                    """
                    SELECT did, cid, size FROM blob WHERE (did, cid) > (\(SQL.Value.text(did)), \(cid))
                    ORDER BY did, cid LIMIT \(batch)
                    """
                ) { (did: try $0.did(0), cid: try $0.cid(1), size: try $0.integer(2)) }
            }
            for row in rows {
                if let problem = try look(at: row.cid, of: row.did, size: row.size, hashing: hashing),
                    try isStored(row.cid, of: row.did)
                {
                    try found(problem)
                }
                done += 1
            }
            progress(done, all)
            guard rows.count == batch, let last = rows.last else { break }
            (did, cid) = (last.did.bytes, Bytes(last.cid.bytes))
        }
        try checkFiles(found)
        try checkUse(found)
    }

    private func look(at cid: CID, of did: DID, size: Int, hashing: Bool) throws -> Problem? {
        guard let found = try BlobFiles.size(path(cid)) else { return .missing(did, cid) }
        if found != size { return .size(did, cid) }
        guard hashing else { return nil }
        var hash = BlobHash()
        guard try read(cid, { hash.update($0) }) else { return .missing(did, cid) }
        return hash.cid == cid ? nil : .damaged(cid)
    }

    private func isStored(_ cid: CID, of did: DID) throws -> Bool {
        try database.read { reader in
            try reader.first("SELECT 1 FROM blob WHERE did = \(did.sql) AND cid = \(cid.sql)") { _ in true } ?? false
        }
    }

    private func checkFiles(_ found: (Problem) throws -> Void) throws {
        for folder in try BlobFiles.names(in: directory) where folder.utf8.count == 2 {
            for name in try BlobFiles.names(in: "\(directory)/\(folder)") {
                let isNamed = try CID(text: Bytes(name)).map { cid in
                    // In the write transaction, so that an upload is either before it or after it.
                    try database.write { writer in
                        let isTrash = try writer.first("SELECT 1 FROM blob_trash WHERE cid = \(cid.sql) LIMIT 1") { _ in
                            true
                        }
                        return try isTrash == true || Self.isNamed(cid, in: writer) || isYoung("\(folder)/\(name)")
                    }
                }
                if isNamed != true { try found(.unnamed("\(folder)/\(name)")) }
            }
        }
    }

    /// An upload gives its file the name before its row stands.
    private func isYoung(_ path: String) throws -> Bool {
        guard let changed = try BlobFiles.changed("\(directory)/\(path)") else { return true }
        return changed > clock.now().adding(seconds: -Self.graceSeconds)
    }

    private func checkUse(_ found: (Problem) throws -> Void) throws {
        let wrong = try database.read { reader in
            try reader.all(
                """
                SELECT did, stored, counted FROM (
                    SELECT did, blob_bytes AS stored, CAST(
                        (SELECT coalesce(sum(size), 0) FROM blob WHERE blob.did = repo.did) AS BIGINT) AS counted
                    FROM repo) AS used
                WHERE stored <> counted LIMIT 1000
                """
            ) { (did: try $0.did(0), stored: try $0.integer(1), counted: try $0.integer(2)) }
        }
        for row in wrong { try found(.storageUse(row.did, stored: row.stored, counted: row.counted)) }
    }
}
