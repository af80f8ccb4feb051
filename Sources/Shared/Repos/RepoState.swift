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

    init(id: Int, did: DID, rev: TID, commit: CID, data: CID, status: RepoStatus) {
        self.id = id
        self.did = did
        self.rev = rev
        self.commit = commit
        self.data = data
        self.status = status
    }

    init(_ row: any Row) throws {
        id = try row.integer(0)
        did = try row.did(1)
        rev = try row.tid(2)
        commit = try row.cid(3)
        data = try row.cid(4)
        status = try RepoStatus(stored: try row.text(5))
    }

    static func select(_ did: DID) -> SQL {
        """
        SELECT id, did, rev, commit_cid, data_cid, status FROM repo WHERE did = \(did.sql) AND status <> 'deleted'
        """
    }

    private init(_ state: RepoState, id: Int) {
        self.id = id
        (did, rev, commit, data, status) = (state.did, state.rev, state.commit, state.data, state.status)
    }

    /// The same under another internal id.
    func renumbered(_ id: Int) -> RepoState { RepoState(self, id: id) }

    /// Throws `RepoError.repoNotFound`, also for one that is deleted and whose rows are still being removed.
    static func find(_ did: DID, _ reader: any Reader) throws -> RepoState {
        guard let state = try reader.first(select(did), RepoState.init) else { throw RepoError.repoNotFound(did) }
        return state
    }
}
