internal import ATProto
internal import Base
internal import Storage

/// The nodes of one repository during one transaction: the cache, then rows, then packs from the newest back.
///
/// Do not keep it: it holds the transaction's connection.
final class RepoNodes {
    /// A stored node and the revision that made it.
    struct Stored {
        let rev: Bytes
        let block: Bytes
    }

    private let repo: Int
    private let reader: any Reader
    private let cache: NodeCache?

    /// Nodes of the packs that were read so far; a newer pack's entry wins.
    private var packed: [CID: Stored] = [:]
    /// Packs from this revision on have been read. `~` is after every TID.
    private var oldestRead: Bytes = "~"
    private var isAllRead = false

    /// Packs that one statement fetches.
    private static let packBatch = 8

    /// Without a cache for walks over whole repositories, which would only drive out what is in use.
    init(repo: Int, reader: any Reader, cache: NodeCache?) {
        self.repo = repo
        self.reader = reader
        self.cache = cache
    }

    func load(_ cid: CID) throws -> MSTNode {
        if let node = cache?.node(cid) { return node }
        guard let stored = try stored(cid) else { throw MSTError(.missingBlock, in: cid) }
        let node = try MSTNode.decode(stored.block, cid: cid)
        cache?.insert(node)
        return node
    }

    /// Makes the nodes of a commit that is being written known, which are not stored yet.
    func add(_ sealed: MST.Sealed) {
        for (node, block) in sealed.new {
            guard let cid = node.cid else { continue }
            packed[cid] = Stored(rev: Bytes(), block: Bytes(block))
            // What a CID names is the same whether the transaction happens or not.
            cache?.insert(node)
        }
    }

    /// The stored block of a node of this repository, or nil. Never from the cache, which holds those of others too.
    func stored(_ cid: CID) throws -> Stored? {
        if let stored = packed[cid] { return stored }
        let row = try reader.first("SELECT rev, bytes FROM mst_node WHERE repo = \(repo) AND cid = \(cid.sql)") {
            Stored(rev: try $0.text(0), block: try $0.bytes(1))
        }
        if let row { return row }
        while !isAllRead {
            try readPacks()
            if let stored = packed[cid] { return stored }
        }
        return nil
    }

    /// The next packs, older than those before.
    private func readPacks() throws {
        var count = 0
        let batch = Self.packBatch
        try reader.each(
            """
            SELECT rev, bytes FROM mst_pack WHERE repo = \(repo) AND rev < \(SQL.Value.text(oldestRead))
            ORDER BY rev DESC LIMIT \(batch)
            """
        ) { row in
            let rev = try row.text(0)
            for (cid, block) in try NodePack(decoding: try row.bytes(1)).new where packed[cid] == nil {
                packed[cid] = Stored(rev: rev, block: block)
            }
            oldestRead = rev
            count += 1
            return true
        }
        isAllRead = count < batch
    }
}

/// Writes nodes: a pack for each commit, folded into rows every so often.
struct NodeWriter: Sendable {
    /// Packs of a repository that are kept before they are folded.
    static let packsMax = 64
    /// A commit with more bytes of new nodes is folded at once.
    static let packSizeMax = 64 * 1_024

    /// How many packs each repository has, as far as this process knows. A wrong count only folds sooner or later.
    private let counts = Guarded<[Int: Int]>([:])
    private static let countsMax = 16_384

    /// Stores what commit `rev` did; `encoded` is `pack`'s.
    func write(_ pack: NodePack, encoded: [UInt8], repo: Int, rev: TID, in writer: any Writer) throws {
        let known = counts.withLock { $0[repo] }
        let count = try known ?? Self.count(repo, writer)
        let isFolding = count + 1 >= Self.packsMax || pack.size > Self.packSizeMax
        if isFolding {
            try Self.fold(pack, repo: repo, rev: rev, in: writer)
        } else {
            try writer.run("INSERT INTO mst_pack (repo, rev, bytes) VALUES (\(repo), \(rev.sql), \(encoded))")
        }
        let counts = counts
        writer.afterCommit {
            counts.withLock { counts in
                if counts.count >= Self.countsMax { counts = [:] }
                counts[repo] = isFolding ? 0 : count + 1
            }
        }
    }

    private static func count(_ repo: Int, _ reader: any Reader) throws -> Int {
        try reader.first("SELECT count(*) FROM mst_pack WHERE repo = \(repo)") { try $0.integer(0) } ?? 0
    }

    /// Makes rows of what is still in use of all packs and of `last`, and removes the packs.
    private static func fold(_ last: NodePack, repo: Int, rev: TID, in writer: any Writer) throws {
        var live: [CID: RepoNodes.Stored] = [:]
        var gone: Set<CID> = []
        func apply(_ pack: NodePack, _ rev: Bytes) {
            for (cid, block) in pack.new { live[cid] = RepoNodes.Stored(rev: rev, block: block) }
            // A node that a pack made and a later one dropped never becomes a row: most of the obsolete ones. One that
            // was a row, went and came back is in `gone` since it first went.
            for cid in pack.obsolete where live.removeValue(forKey: cid) == nil { gone.insert(cid) }
        }
        try writer.each("SELECT rev, bytes FROM mst_pack WHERE repo = \(repo) ORDER BY rev") { row in
            apply(try NodePack(decoding: try row.bytes(1)), try row.text(0))
            return true
        }
        apply(last, rev.bytes)
        try writer.run("DELETE FROM mst_pack WHERE repo = \(repo)")
        for cid in gone { try writer.run("DELETE FROM mst_node WHERE repo = \(repo) AND cid = \(cid.sql)") }
        for (cid, node) in live {
            try writer.run(
                """
                INSERT INTO mst_node (repo, cid, rev, bytes)
                VALUES (\(repo), \(cid.sql), \(SQL.Value.text(node.rev)), \(node.block))
                ON CONFLICT (repo, cid) DO UPDATE SET rev = excluded.rev
                """)
        }
    }
}
