internal import ATProto
internal import Base
internal import Storage

/// A commit that is made and not stored: everything that needs no write lock, on the state that a repository had a
/// moment ago or is about to have.
///
/// It is what the transaction would have made, as long as the repository still is at `base` when it is stored: every
/// change of its records is a commit of its own. What is not in the tree (links of other records to the same subject,
/// blobs) is looked at when it is stored.
struct PreparedCommit {
    let base: RepoState
    let commit: SignedCommit
    let changes: [RecordChange]
    /// The CID of each write's record.
    let records: [CID?]
    /// Links that no record of before may have.
    let links: [RecordLink]
    /// Where the repository is once this is stored.
    let head: RepoHead
    /// The pack of `head` as it is stored, and what it has no room for.
    let pack: [UInt8]
    let spill: NodePack.Spill
    let event: EventFrame.UnnumberedCommit
}

/// Where a repository stands, with what the next commit changes of what it stores.
struct RepoHead {
    let state: RepoState
    let pack: NodePack
}

extension RepoStore {
    /// Makes the commit of `writes` on `base`, or nil when they change nothing. Throws `RepoError`.
    ///
    /// With `links`, records that are there already and point at the same subject are replaced; without, it is taken
    /// that there are none.
    func prepare(
        _ writes: [RecordWrite], on base: RepoState, pack: NodePack?, links: RecordChanges.LinkSource?,
        _ reader: any Reader
    ) throws -> (commit: PreparedCommit?, records: [CID?]) {
        let nodes = RepoNodes(repo: base.id, reader: reader, cache: cache, pack: pack)
        var changes = RecordChanges(tree: try MST(root: base.data, load: nodes.load), links: links)
        let records = try writes.map { try changes.apply($0) }
        let changed = changes.net
        guard !changed.isEmpty else { return (nil, records) }
        guard changed.count <= Self.writesMax else { throw RepoError.tooManyWrites(max: Self.writesMax) }
        let sealed = changes.tree.seal()
        nodes.add(sealed)
        let rev = try nextRev(after: base.rev)
        let commit = try SignedCommit(base.did, rev, sealed.root, try keys(base.did, reader))
        let blocks = try eventBlocks(changed, changes.tree, sealed, commit)
        let operations = changed.map {
            EventFrame.Operation(path: $0.path.bytes, value: $0.after?.cid, previous: $0.before)
        }
        let event = EventFrame.Commit(
            did: base.did, commit: commit.info, since: base.rev, previousData: base.data, operations: operations,
            blocks: blocks)
        var pack = try nodes.pack()
        let spill = pack.apply(sealed, rev)
        let state = RepoState(
            id: base.id, did: base.did, rev: rev, commit: commit.info.cid, data: sealed.root, status: base.status)
        return (
            PreparedCommit(
                base: base, commit: commit, changes: changed, records: records, links: changes.assumedLinks,
                head: RepoHead(state: state, pack: pack), pack: pack.encoded(), spill: spill,
                event: EventFrame.UnnumberedCommit(event)),
            records
        )
    }

    /// Stores `prepared`. Returns false, having changed nothing, when the repository is not what it was prepared on.
    /// Throws `RepoError.quotaExceeded` among others.
    func store(_ prepared: PreparedCommit, in writer: any Writer) throws -> Bool {
        let (base, info) = (prepared.base, prepared.commit.info)
        for link in prepared.links where try !link.older(in: base.id, writer).isEmpty { return false }
        let growth = try RecordRows.growth(of: prepared.changes, repo: base.id, writer)
        let count = try writer.run(
            """
            UPDATE repo SET rev = \(info.rev.sql), commit_cid = \(info.cid.sql),
                data_cid = \(prepared.head.state.data.sql), commit_block = \(prepared.commit.block),
                record_bytes = record_bytes + \(growth)
            WHERE id = \(base.id) AND commit_cid = \(base.commit.sql) AND status = 'active'
            """)
        guard count == 1 else { return false }
        try quota.check(base.did, growth: growth, in: writer)
        try RecordRows(state: base, rev: info.rev, now: clock.now(), writer: writer).store(prepared.changes)
        try prepared.head.pack.store(prepared.pack, prepared.spill, repo: base.id, in: writer)
        try announce(prepared.event, in: writer)
        return true
    }
}
