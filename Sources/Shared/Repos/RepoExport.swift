public import ATProto
public import Base
internal import Storage

extension RepoStore {
    /// Writes the whole repository as a CAR in stream order: the commit, then each node before what is under it and
    /// each record where its key stands. The same repository gives the same bytes, on every engine.
    ///
    /// With `since`, only blocks that came with later revisions. Memory stays bounded whatever the size.
    /// `sink` may throw to stop. Throws `RepoError.repoNotFound`.
    public func export(_ did: DID, since: TID? = nil, to sink: CARWriter.Sink) throws {
        try export(did, since: since, began: { _ in }, to: sink)
    }

    /// The same; `began` is told the state that is exported, before the first piece.
    func export(_ did: DID, since: TID?, began: (RepoState) -> Void, to sink: CARWriter.Sink) throws {
        try withoutActuallyEscaping(sink) { sink in
            try database.read { reader in
                let state = try RepoState.find(did, reader)
                began(state)
                let block = try current(of: did, in: reader).block
                var car = CARWriter(root: state.commit, to: sink)
                if let since, state.rev <= since { return try car.finish() }
                try car.block(state.commit, block)
                try exportTree(state, since: since, reader, &car)
                try car.finish()
            }
        }
    }

    private func exportTree(
        _ state: RepoState, since: TID?, _ reader: any Reader, _ car: inout CARWriter
    ) throws {
        let nodes = RepoNodes(repo: state.id, reader: reader, cache: nil)
        // A walk visits a node right after it was loaded: its block is at hand then.
        var last: RepoNodes.Stored?
        let tree = try MST(root: state.data) { cid in
            guard let stored = try nodes.stored(cid) else { throw MSTError(.missingBlock, in: cid) }
            last = stored
            return try MSTNode.decode(stored.block, cid: cid)
        }
        let records = RecordScan(repo: state.id, reader: reader)
        try tree.preorder { item in
            switch item {
            case .node(let node):
                guard let cid = node.cid, let stored = last else { throw RepoError.corrupt("unsealed node") }
                // What was made before has nothing newer under it.
                if let since, !(since.bytes < stored.rev) { return .past }
                try car.block(cid, stored.block)
            case .record(let key, let cid):
                if let since {
                    try Self.exportRecord(key, cid, since, state, reader, &car)
                } else {
                    try car.block(cid, try records.next(key, cid))
                }
            }
            return .into
        }
    }

    private static func exportRecord(
        _ key: Bytes, _ cid: CID, _ since: TID, _ state: RepoState, _ reader: any Reader, _ car: inout CARWriter
    ) throws {
        let row = try reader.first("SELECT rev, cid, value FROM record WHERE repo = \(state.id) AND key = \(key)") {
            (rev: try $0.text(0), cid: try $0.cid(1), value: try $0.bytes(2))
        }
        guard let row, row.cid == cid else { throw RepoError.corrupt("record of the tree is not stored") }
        if since.bytes < row.rev { try car.block(cid, row.value) }
    }

    // MARK: Proofs and single blocks

    /// Writes a CAR that proves what is at `path`, or that nothing is: the commit, the nodes on the way, the record.
    public func exportRecord(_ path: RepoPath, of did: DID) throws -> [UInt8] {
        try database.read { reader in
            let state = try RepoState.find(did, reader)
            let commit = try current(of: did, in: reader).block
            var out: [UInt8] = []
            CARWriter.appendHeader(state.commit, to: &out)
            commit.withUnsafeBytes { CARWriter.append(state.commit, $0, to: &out) }
            let nodes = RepoNodes(repo: state.id, reader: reader, cache: cache)
            let tree = try MST(root: state.data, load: nodes.load)
            try tree.path(to: path.bytes) { node in
                if let cid = node.cid { CARWriter.append(cid, node.encoded(), to: &out) }
            }
            try reader.each("SELECT cid, value FROM record WHERE repo = \(state.id) AND key = \(path.bytes)") { row in
                let cid = try row.cid(0)
                try row.withBytes(1) { CARWriter.append(cid, $0, to: &out) }
                return false
            }
            return out
        }
    }

    /// CIDs that one call of `blocks` takes.
    public static let blocksMax = 500

    /// Those of `cids` that are blocks of the repository now: its commit, nodes and records. Records are looked for
    /// only when a CID is nothing else.
    public func blocks(_ cids: [CID], of did: DID) throws -> [CID: Bytes] {
        try database.read { reader in
            let state = try RepoState.find(did, reader)
            let nodes = RepoNodes(repo: state.id, reader: reader, cache: nil)
            var found: [CID: Bytes] = [:]
            for cid in Set(cids.prefix(Self.blocksMax)) {
                if cid == state.commit {
                    found[cid] = try reader.first("SELECT commit_block FROM repo WHERE id = \(state.id)") {
                        try $0.bytes(0)
                    }
                } else if let node = try nodes.stored(cid) {
                    found[cid] = node.block
                }
            }
            let wanted = Set(cids.prefix(Self.blocksMax)).subtracting(found.keys)
            if !wanted.isEmpty {
                // There is no index by CID: one scan of the repository's CIDs for all that is missing.
                try reader.each("SELECT cid, key FROM record WHERE repo = \(state.id)") { row in
                    let cid = try row.cid(0)
                    guard wanted.contains(cid), found[cid] == nil else { return true }
                    let key = try row.bytes(1)
                    found[cid] = try reader.first(
                        "SELECT value FROM record WHERE repo = \(state.id) AND key = \(key)"
                    ) { try $0.bytes(0) }
                    return found.count < cids.count
                }
            }
            return found
        }
    }
}

/// A repository's records in key order, a batch of rows at a time.
final class RecordScan {
    private let repo: Int
    private let reader: any Reader
    private var batch: [(key: Bytes, cid: CID, value: Bytes)] = []
    private var position = 0
    private var last = Bytes()

    private static let batchMax = 500
    /// A batch ends early when its values are this many bytes.
    private static let batchSizeMax = 4 << 20

    init(repo: Int, reader: any Reader) {
        self.repo = repo
        self.reader = reader
    }

    /// The next record, which must be the one that the tree has next.
    func next(_ key: Bytes, _ cid: CID) throws -> Bytes {
        guard let row = try next(), row.key == key, row.cid == cid else {
            throw RepoError.corrupt("records are not those of the tree")
        }
        return row.value
    }

    /// The next record, or nil after the last.
    func next() throws -> (key: Bytes, cid: CID, value: Bytes)? {
        if position == batch.count { try fetch() }
        guard position < batch.count else { return nil }
        defer { position += 1 }
        return batch[position]
    }

    private func fetch() throws {
        batch.removeAll(keepingCapacity: true)
        position = 0
        var size = 0
        let limit = Self.batchMax
        try reader.each(
            "SELECT key, cid, value FROM record WHERE repo = \(repo) AND key > \(last) ORDER BY key LIMIT \(limit)"
        ) { row in
            let entry = (key: try row.bytes(0), cid: try row.cid(1), value: try row.bytes(2))
            batch.append(entry)
            size += entry.value.count
            return size < Self.batchSizeMax
        }
        if let entry = batch.last { last = entry.key }
    }
}
