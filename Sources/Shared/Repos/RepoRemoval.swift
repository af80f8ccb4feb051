public import ATProto
internal import Base
public import Storage

/// Removing a repository: it is gone for everyone with the first transaction; its rows and files follow in
/// transactions of bounded size, so that a large repository holds up nobody. What a crash interrupts is gone on with.
extension RepoStore {
    /// Rows of each table that one transaction removes.
    public static let removalBatch = 1_000

    /// Makes the repository one that nobody finds any more. Its rows are removed by `removeRows`.
    ///
    /// Throws `RepoError.repoNotFound`.
    public func markDeleted(_ did: DID, in writer: any Writer) throws {
        let id = try RepoState.find(did, writer).id
        try writer.run("UPDATE repo SET status = \(RepoStatus.deleted.sql) WHERE id = \(id)")
        // What an import of it has stored so far goes with `RepoImporter.collect`.
        try writer.run("UPDATE repo_part SET due_at = 0 WHERE did = \(did.sql)")
    }

    /// Removes rows of a deleted repository, its blobs' apart, in one transaction of bounded size. Returns whether
    /// there may be more: call again until false.
    public func removeRows(of did: DID) throws -> Bool {
        let limit = Self.removalBatch
        return try database.write { writer in
            let id = try writer.first(
                "SELECT id FROM repo WHERE did = \(did.sql) AND status = \(RepoStatus.deleted.sql)"
            ) { try $0.integer(0) }
            guard let id else { return false }
            var counts = [
                try writer.run(
                    """
                    DELETE FROM record WHERE repo = \(id)
                    AND key IN (SELECT key FROM record WHERE repo = \(id) LIMIT \(limit))
                    """),
                try writer.run(
                    """
                    DELETE FROM mst_node WHERE repo = \(id)
                    AND cid IN (SELECT cid FROM mst_node WHERE repo = \(id) LIMIT \(limit))
                    """),
                try writer.run(
                    """
                    DELETE FROM backlink WHERE repo = \(id) AND (collection, subject, key) IN
                        (SELECT collection, subject, key FROM backlink WHERE repo = \(id) LIMIT \(limit))
                    """),
                try writer.run(
                    """
                    DELETE FROM blob_reference WHERE repo = \(id) AND (cid, key) IN
                        (SELECT cid, key FROM blob_reference WHERE repo = \(id) LIMIT \(limit))
                    """),
            ]
            // Never more than `NodeWriter.packsMax`.
            counts.append(try writer.run("DELETE FROM mst_pack WHERE repo = \(id)"))
            counts.append(try writer.run("DELETE FROM record_takedown WHERE repo = \(id)"))
            return counts.contains { $0 >= limit }
        }
    }

    /// Removes the last row of a deleted repository, once its rows and blobs are gone: until then it is found by
    /// `deleted`.
    public func finishRemoval(of did: DID) throws {
        try database.write { writer in
            _ = try writer.run(
                "DELETE FROM repo WHERE did = \(did.sql) AND status = \(RepoStatus.deleted.sql)")
        }
    }

    /// Repositories that were deleted and whose rows are not all gone: a crash came between. At most `limit`.
    public func deleted(limit: Int) throws -> [DID] {
        try database.read { reader in
            try reader.all(
                "SELECT did FROM repo WHERE status = \(RepoStatus.deleted.sql) ORDER BY id LIMIT \(limit)"
            ) { try $0.did(0) }
        }
    }
}

extension BlobStore {
    /// Removes blobs of an account in one transaction of bounded size, those of the trash too. Returns whether there
    /// may be more: call again until false. Their bytes go with `sweep`, unless another account has the same.
    public func remove(of did: DID) throws -> Bool {
        let batch = Self.purgeBatch
        return try database.write { writer in
            let cids = try writer.all("SELECT cid FROM blob WHERE did = \(did.sql) LIMIT \(batch)") { try $0.cid(0) }
            for cid in cids {
                try writer.run("DELETE FROM blob WHERE did = \(did.sql) AND cid = \(cid.sql)")
                try release(cid, in: writer)
            }
            let trashed = try emptyTrash(of: did, limit: batch, in: writer)
            try writer.run("DELETE FROM blob_takedown WHERE did = \(did.sql)")
            return cids.count == batch || trashed == batch
        }
    }
}
