public import ATProto
internal import Storage

/// How much there is of a repository: what a person who moves compares.
public struct RepoCounts: Sendable, Equatable {
    public let records: Int
    /// Blocks at rest: records, tree nodes and the commit. Nodes of the newest commits count once they are folded.
    public let blocks: Int
    /// Blobs that records name, and those of them that are here.
    public let expectedBlobs: Int
    public let importedBlobs: Int
}

extension RepoStore {
    /// Throws `repoNotFound`.
    public func counts(of did: DID) throws -> RepoCounts {
        try database.read { reader in
            let repo = try RepoState.find(did, reader).id
            func count(_ sql: SQL) throws -> Int { try reader.first(sql) { try $0.integer(0) } ?? 0 }
            let records = try count("SELECT count(*) FROM record WHERE repo = \(repo)")
            let nodes = try count("SELECT count(*) FROM mst_node WHERE repo = \(repo)")
            return RepoCounts(
                records: records, blocks: records + max(1, nodes) + 1,
                expectedBlobs: try count("SELECT count(DISTINCT cid) FROM blob_reference WHERE repo = \(repo)"),
                importedBlobs: try count(
                    """
                    SELECT count(DISTINCT r.cid) FROM blob_reference r JOIN blob b ON b.cid = r.cid
                    WHERE r.repo = \(repo) AND b.did = \(did.sql)
                    """))
        }
    }
}
