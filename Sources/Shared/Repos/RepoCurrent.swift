public import ATProto
public import Base
public import Storage

extension RepoStore {
    /// The signed commit that the repository is at and its block, inside of a transaction. Throws `repoNotFound`.
    public func current(of did: DID, in reader: any Reader) throws -> (info: CommitInfo, block: Bytes) {
        let row = try reader.first("SELECT rev, commit_cid, commit_block FROM repo WHERE did = \(did.sql)") {
            (info: CommitInfo(cid: try $0.cid(1), rev: try $0.tid(0)), block: try $0.bytes(2))
        }
        guard let row else { throw RepoError.repoNotFound(did) }
        return row
    }
}
