public import ATProto
internal import Base
public import Storage

extension RepoStore {
    /// Changes records in one transaction of its own. See `apply(_:to:expecting:in:)`.
    @discardableResult public func apply(
        _ writes: [RecordWrite], to did: DID, expecting commit: CID? = nil
    ) throws -> WriteOutcome {
        try database.write { try apply(writes, to: did, expecting: commit, in: $0) }
    }

    /// Changes records: all of `writes` in order, or none. One commit and one event, or neither when nothing changed.
    ///
    /// A record that may be the only one for its subject (like, repost, follow, block) takes the place of an older
    /// one. Throws `RepoError`; `commitSwap` when `commit` is given and not the current one.
    @discardableResult public func apply(
        _ writes: [RecordWrite], to did: DID, expecting commit: CID? = nil, in writer: any Writer
    ) throws -> WriteOutcome {
        guard writes.count <= Self.writesMax else { throw RepoError.tooManyWrites(max: Self.writesMax) }
        let state = try RepoState.find(did, writer)
        guard state.status == .active else { throw RepoError.notActive(did, state.status) }
        if let commit, commit != state.commit { throw RepoError.commitSwap(current: state.commit) }
        let nodes = RepoNodes(repo: state.id, reader: writer, cache: cache)
        var changes = RecordChanges(state, tree: try MST(root: state.data, load: nodes.load), writer)
        let records = try writes.map { try changes.apply($0) }
        let changed = changes.net
        guard !changed.isEmpty else { return WriteOutcome(commit: nil, records: records) }
        guard changed.count <= Self.writesMax else { throw RepoError.tooManyWrites(max: Self.writesMax) }
        let info = try self.commit(changed, &changes.tree, nodes, state, writer)
        return WriteOutcome(commit: info, records: records)
    }

    private func commit(
        _ changed: [RecordChange], _ tree: inout MST, _ nodes: RepoNodes, _ state: RepoState, _ writer: any Writer
    ) throws -> CommitInfo {
        let sealed = tree.seal()
        nodes.add(sealed)
        let rev = try nextRev(after: state.rev)
        let commit = try SignedCommit(state.did, rev, sealed.root, try keys(state.did, writer))
        let blocks = try eventBlocks(changed, tree, sealed, commit)
        let growth = try RecordRows.growth(of: changed, repo: state.id, writer)
        try move(state, to: commit, data: sealed.root, growth: growth, in: writer)
        try RecordRows(state: state, rev: rev, now: clock.now(), writer: writer).store(changed)
        try packs.write(NodePack(sealed), repo: state.id, rev: rev, in: writer)
        let operations = changed.map {
            EventFrame.Operation(path: $0.path.bytes, value: $0.after?.cid, previous: $0.before)
        }
        try announce(
            EventFrame.Commit(
                did: state.did, commit: commit.info, since: state.rev, previousData: state.data,
                operations: operations, blocks: blocks), in: writer)
        return commit.info
    }

    /// The CAR of an event: the commit, the new nodes, those that inverting the operations needs besides, and the
    /// records.
    private func eventBlocks(
        _ changed: [RecordChange], _ tree: MST, _ sealed: MST.Sealed, _ commit: SignedCommit
    ) throws -> [UInt8] {
        var blocks: [UInt8] = []
        var size = 1_024
        for entry in sealed.new { size += entry.block.count + 64 }
        for change in changed { size += (change.after?.bytes.count ?? 0) + 64 }
        blocks.reserveCapacity(size + 16_384)
        CARWriter.appendHeader(commit.info.cid, to: &blocks)
        CARWriter.append(commit.info.cid, commit.block, to: &blocks)
        var seen: Set<CID> = []
        // Parents before children: what a consumer walks it meets in order.
        for entry in sealed.new.reversed() {
            guard let cid = entry.node.cid, seen.insert(cid).inserted else { continue }
            CARWriter.append(cid, entry.block, to: &blocks)
        }
        let operations = changed.map {
            MSTOperation(key: $0.path.bytes, value: $0.after?.cid, previous: $0.before)
        }
        for node in try tree.inversionNodes(operations) {
            guard let cid = node.cid, seen.insert(cid).inserted else { continue }
            CARWriter.append(cid, node.encoded(), to: &blocks)
        }
        for change in changed {
            guard let record = change.after, seen.insert(record.cid).inserted else { continue }
            record.bytes.withUnsafeBytes { CARWriter.append(record.cid, $0, to: &blocks) }
        }
        guard blocks.count <= Self.eventBlocksSizeMax else {
            throw RepoError.commitTooLarge(max: Self.eventBlocksSizeMax)
        }
        return blocks
    }
}
