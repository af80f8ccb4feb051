public import ATProto
internal import Base
public import Storage

extension RepoStore {
    /// Changes records in one transaction of its own: all of `writes` in order, or none. One commit and one event, or
    /// neither when nothing changed.
    ///
    /// A record that may be the only one for its subject (like, repost, follow, block) takes the place of an older
    /// one. Throws `RepoError`; `commitSwap` when `commit` is given and not the current one. `alongside` is part of
    /// the transaction and comes first: what it throws ends it.
    ///
    /// The commit is made before the transaction, on this thread, where that can be guessed; the transaction stores it
    /// if the guess was right and makes it anew if not. So the writes of several threads are signed side by side.
    @discardableResult public func apply(
        _ writes: [RecordWrite], to did: DID, expecting commit: CID? = nil,
        alongside: (any Writer) throws -> Void = { _ in }
    ) throws -> WriteOutcome {
        guard writes.count <= Self.writesMax else { throw RepoError.tooManyWrites(max: Self.writesMax) }
        let lane = lanes.lane(of: did)
        lane.enter()
        var isInside = true
        defer { if isInside { lane.leave() } }
        func leave() {
            isInside = false
            lane.leave()
        }
        func make(_ writer: any Writer) throws -> WriteOutcome {
            try alongside(writer)
            return try apply(writes, to: did, expecting: commit, in: writer)
        }
        switch lane.next() {
        case .alone: return try database.write(make)
        case .inside: return try database.write(queued: leave, make)
        case .prepare(let head):
            // Whatever can't be done on a guess (nothing changes, a refusal, a node that is gone) is not decided here.
            guard let prepared = try? prepare(writes, for: did, on: head, expecting: commit) else {
                return try database.write(queued: leave) { writer in
                    let outcome = try make(writer)
                    if outcome.commit != nil { lane.lost() }
                    return outcome
                }
            }
            lane.prepared(RepoHead(state: prepared.head.state, pack: prepared.head.pack.stored), on: prepared.base)
            return try database.write(queued: leave) { writer in
                try alongside(writer)
                guard try store(prepared, in: writer) else {
                    lane.lost()
                    return try apply(writes, to: did, expecting: commit, in: writer)
                }
                lane.confirm()
                return WriteOutcome(commit: prepared.commit.info, records: prepared.records)
            }
        }
    }

    private func prepare(
        _ writes: [RecordWrite], for did: DID, on head: RepoHead?, expecting commit: CID?
    ) throws -> PreparedCommit? {
        try database.read { reader in
            let base = try head?.state ?? RepoState.find(did, reader)
            guard base.status == .active, commit == nil || commit == base.commit else { return nil }
            return try prepare(writes, on: base, pack: head?.pack, links: nil, reader).commit
        }
    }

    /// The same as part of a transaction.
    @discardableResult public func apply(
        _ writes: [RecordWrite], to did: DID, expecting commit: CID? = nil, in writer: any Writer
    ) throws -> WriteOutcome {
        guard writes.count <= Self.writesMax else { throw RepoError.tooManyWrites(max: Self.writesMax) }
        let state = try RepoState.find(did, writer)
        guard state.status == .active else { throw RepoError.notActive(did, state.status) }
        if let commit, commit != state.commit { throw RepoError.commitSwap(current: state.commit) }
        let (prepared, records) = try prepare(
            writes, on: state, pack: nil, links: { try $0.older(in: state.id, writer) }, writer)
        guard let prepared else { return WriteOutcome(commit: nil, records: records) }
        // Nobody else can have changed the row that this transaction has just read.
        guard try store(prepared, in: writer) else { throw StorageError.busy }
        return WriteOutcome(commit: prepared.commit.info, records: records)
    }

    /// The CAR of an event: the commit, the new nodes, those that inverting the operations needs besides, and the
    /// records.
    func eventBlocks(
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
