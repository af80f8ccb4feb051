public import ATProto
public import Base
public import Crypto
public import Storage

/// Repositories: creating them, changing their records, and where they stand.
///
/// A change is one transaction of the database: tree, signed commit, record rows, blobs and the event. What `apply`
/// answered is durable and has exactly one event; what threw did not happen.
public struct RepoStore: Sendable {
    /// Finds the key that signs an account's commits. It runs inside the transaction: keep unsealed keys at hand.
    public typealias KeySource = @Sendable (DID, any Reader) throws -> SigningKey

    /// Writes in one batch, and operations in one event. https://atproto.com/specs/sync
    public static let writesMax = 200
    /// Bytes of blocks in one event.
    public static let eventBlocksSizeMax = 2_000_000

    let database: any Database
    let events: EventStore
    let cache: NodeCache
    let tids: TIDMaker
    let clock: Clock
    let keys: KeySource
    let lanes = RepoLanes()
    /// Whole repositories that were streamed before; nil: none are kept.
    public let archive: RepoArchive?
    let quota: StorageQuota

    public init(
        database: any Database, events: EventStore, cache: NodeCache = NodeCache(), tids: TIDMaker, clock: Clock,
        archive: RepoArchive? = nil, quota: StorageQuota = .none, keys: @escaping KeySource
    ) {
        self.archive = archive
        self.quota = quota
        self.database = database
        self.events = events
        self.cache = cache
        self.tids = tids
        self.clock = clock
        self.keys = keys
    }

    // MARK: Life

    /// Makes an empty repository with its first commit. An active one is announced with a `#commit`.
    ///
    /// Throws `RepoError.repoExists`.
    @discardableResult public func create(
        _ did: DID, status: RepoStatus = .active, key: SigningKey, in writer: any Writer
    ) throws -> CommitInfo {
        if try writer.first("SELECT id FROM repo WHERE did = \(did.sql)", { try $0.integer(0) }) != nil {
            throw RepoError.repoExists(did)
        }
        guard let data = MSTNode.empty.cid else { throw RepoError.corrupt("empty tree") }
        let id = try Self.newID(in: writer)
        let commit = try SignedCommit(did, tids.next(now: clock.now()), data, key)
        try writer.run(
            """
            INSERT INTO repo (id, did, rev, commit_cid, data_cid, commit_block, status, blob_bytes)
            VALUES (\(id), \(did.sql), \(commit.info.rev.sql), \(commit.info.cid.sql), \(data.sql), \(commit.block),
                \(status.sql), (SELECT coalesce(sum(size), 0) FROM blob WHERE did = \(did.sql)))
            """)
        let node = MSTNode.empty.encoded()
        var pack = NodePack()
        let spill = pack.apply(new: [(data, node)], obsolete: [], commit.info.rev)
        try pack.store(pack.encoded(), spill, repo: id, in: writer)
        if status == .active {
            var blocks: [UInt8] = []
            CARWriter.appendHeader(commit.info.cid, to: &blocks)
            CARWriter.append(commit.info.cid, commit.block, to: &blocks)
            CARWriter.append(data, node, to: &blocks)
            try announce(
                EventFrame.UnnumberedCommit(
                    EventFrame.Commit(
                        did: did, commit: commit.info, since: nil, previousData: nil, operations: [], blocks: blocks)),
                in: writer)
        }
        return commit.info
    }

    /// An id that no repository has had.
    static func newID(in writer: any Writer) throws -> Int {
        let id = try writer.first("UPDATE counter SET value = value + 1 WHERE name = 'repo' RETURNING value") {
            try $0.integer(0)
        }
        guard let id else { throw RepoError.corrupt("no repository counter") }
        return id
    }

    /// Notes what the account's state means for sync. The caller announces it (`EventStore.appendAccount`).
    public func setStatus(_ status: RepoStatus, of did: DID, in writer: any Writer) throws {
        guard try writer.run("UPDATE repo SET status = \(status.sql) WHERE did = \(did.sql)") == 1 else {
            throw RepoError.repoNotFound(did)
        }
    }

    /// Signs a new commit over the records as they are: after a change of the signing key, or on activation.
    @discardableResult public func recommit(
        _ did: DID, key: SigningKey? = nil, in writer: any Writer
    ) throws -> CommitInfo {
        let state = try RepoState.find(did, writer)
        let commit = try SignedCommit(did, try nextRev(after: state.rev), state.data, try key ?? keys(did, writer))
        try move(state, to: commit, data: state.data, in: writer)
        guard state.status == .active else { return commit.info }
        var blocks: [UInt8] = []
        CARWriter.appendHeader(commit.info.cid, to: &blocks)
        CARWriter.append(commit.info.cid, commit.block, to: &blocks)
        try announce(
            EventFrame.UnnumberedCommit(
                EventFrame.Commit(
                    did: did, commit: commit.info, since: state.rev, previousData: state.data, operations: [],
                    blocks: blocks)), in: writer)
        return commit.info
    }

    // MARK: Reading

    /// Throws `RepoError.repoNotFound`.
    public func state(of did: DID) throws -> RepoState {
        guard let state = try database.first(RepoState.select(did), RepoState.init) else {
            throw RepoError.repoNotFound(did)
        }
        return state
    }

    /// Whether a repository is served. Throws `RepoError.repoNotFound`.
    public func status(of did: DID, in reader: any Reader) throws -> RepoStatus {
        try RepoState.find(did, reader).status
    }

    /// Repositories in the order of their making, after `cursor`; with each its own cursor.
    public func list(after cursor: Int, limit: Int) throws -> [(state: RepoState, cursor: Int)] {
        try database.read { reader in
            try reader.all(
                """
                SELECT id, did, rev, commit_cid, data_cid, status FROM repo
                WHERE id > \(cursor) AND status <> 'deleted' ORDER BY id LIMIT \(limit)
                """
            ) { row in
                let state = try RepoState(row)
                return (state, state.id)
            }
        }
    }

    /// A record key for a record whose author gave none: a TID of now, later than any that was given before.
    public func newRecordKey() -> RecordKey { RecordKey(tids.next(now: clock.now())) }

    // MARK: Parts of a commit

    func announce(_ event: EventFrame.UnnumberedCommit, in writer: any Writer) throws {
        try events.append("commit", did: event.did, in: writer) { event.frame(seq: $0, time: $1) }
    }

    func nextRev(after last: TID) throws -> TID {
        let rev = tids.next(now: clock.now(), after: last)
        guard rev > last else { throw RepoError.revisionsExhausted }
        return rev
    }

    /// Makes `commit` the current one. Should another process have been faster, nothing happens but `busy`.
    func move(_ state: RepoState, to commit: SignedCommit, data: CID, in writer: any Writer) throws {
        let count = try writer.run(
            """
            UPDATE repo SET rev = \(commit.info.rev.sql), commit_cid = \(commit.info.cid.sql), data_cid = \(data.sql),
                commit_block = \(commit.block)
            WHERE id = \(state.id) AND commit_cid = \(state.commit.sql)
            """)
        guard count == 1 else { throw StorageError.busy }
    }
}

/// A commit that was just made.
struct SignedCommit {
    let info: CommitInfo
    let block: [UInt8]

    init(_ did: DID, _ rev: TID, _ data: CID, _ key: SigningKey) throws {
        block = try Commit(did: did, rev: rev, data: data, signedBy: key).encoded()
        info = CommitInfo(cid: CID(hashing: block), rev: rev)
    }
}
