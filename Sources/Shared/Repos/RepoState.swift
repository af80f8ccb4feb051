public import ATProto
internal import Base
internal import Storage

/// Where a repository stands.
public struct RepoState: Sendable {
    let id: Int
    public let did: DID
    public let rev: TID
    public let commit: CID
    /// The root of the MST.
    public let data: CID
    public let status: RepoStatus

    public var info: CommitInfo { CommitInfo(cid: commit, rev: rev) }

    init(_ row: any Row) throws {
        id = try row.integer(0)
        did = try row.did(1)
        rev = try row.tid(2)
        commit = try row.cid(3)
        data = try row.cid(4)
        guard let status = RepoStatus(rawValue: try row.text(5).description) else {
            throw RepoError.corrupt("status of a repository")
        }
        self.status = status
    }

    /// Throws `RepoError.repoNotFound`, also for one that is deleted and whose rows are still being removed.
    static func find(_ did: DID, _ reader: any Reader) throws -> RepoState {
        let state = try reader.first(
            """
            SELECT id, did, rev, commit_cid, data_cid, status FROM repo WHERE did = \(did.sql) AND status <> 'deleted'
            """, RepoState.init)
        guard let state else { throw RepoError.repoNotFound(did) }
        return state
    }
}
