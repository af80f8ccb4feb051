public import ATProto
internal import Base
internal import Storage

/// How blobs go: unnamed for a grace, then in the trash, from which the operator can bring them back, then gone.
extension BlobStore {
    /// How long an unnamed blob is kept: the protocol asks for an hour at least (https://atproto.com/specs/blob).
    public static let graceSeconds: Int64 = 6 * 3_600
    /// How long a removed blob can be brought back.
    public static let trashSeconds: Int64 = 3 * 86_400
    /// Blobs that one call of `purge` or `emptyTrash` removes.
    public static let purgeBatch = 200

    /// Puts blobs that no record has named for longer than the grace into the trash, and removes what uploads that
    /// broke off left behind. Returns how many blobs went: call again until it is 0.
    public func purge() throws -> Int {
        let now = clock.now()
        let deadline = now.adding(seconds: -Self.graceSeconds)
        try BlobFiles.removeOld(in: uploads, before: deadline)
        let batch = Self.purgeBatch
        return try database.write { writer in
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
            return due.count
        }
    }

    /// Removes for good what has been in the trash for `trashSeconds`; the bytes go with `sweep`. Returns how many
    /// blobs went: call again until it is 0.
    public func emptyTrash() throws -> Int {
        let deadline = clock.now().adding(seconds: -Self.trashSeconds)
        let batch = Self.purgeBatch
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
        try release(cid, in: writer)
    }

    /// Brings an account's blobs back from the trash: `cid`, or all. One that no record names begins its grace anew.
    ///
    /// Returns how many came back. Throws `RepoError.repoNotFound`, `quotaExceeded`, and `blobNotFound` for one whose
    /// bytes are gone.
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
                guard try Self.hasObject(blob.cid, in: writer) else { throw RepoError.blobNotFound(blob.cid) }
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
}
