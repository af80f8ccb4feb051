internal import ATProto
internal import Base
internal import Storage

/// The nodes of one repository during one transaction: those that were just made, the cache, the pack, then rows.
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
    private var loadedPack: NodePack?
    /// The pack's nodes by CID, once one was looked for.
    private var packed: [CID: Stored]?
    private var made: [CID: MSTNode] = [:]

    /// Without a cache for walks over whole repositories, which would only drive out what is in use. `pack` is the
    /// repository's when it is known.
    init(repo: Int, reader: any Reader, cache: NodeCache?, pack: NodePack? = nil) {
        self.repo = repo
        self.reader = reader
        self.cache = cache
        loadedPack = pack
    }

    func load(_ cid: CID) throws -> MSTNode {
        if let node = made[cid] ?? cache?.node(cid) { return node }
        guard let stored = try stored(cid) else { throw MSTError(.missingBlock, in: cid) }
        let node = try MSTNode.decode(stored.block, cid: cid)
        cache?.insert(node)
        return node
    }

    /// Makes the nodes of a commit that is being made known, which are not stored yet.
    func add(_ sealed: MST.Sealed) {
        made.reserveCapacity(sealed.new.count)
        for (node, _) in sealed.new {
            guard let cid = node.cid else { continue }
            made[cid] = node
            // What a CID names is the same whether the transaction happens or not.
            cache?.insert(node)
        }
    }

    /// The repository's pack.
    func pack() throws -> NodePack {
        if let pack = loadedPack { return pack }
        let pack = try NodePack(of: repo, reader)
        loadedPack = pack
        return pack
    }

    /// The stored block of a node of this repository, or nil. Never from the cache, which holds those of others too.
    func stored(_ cid: CID) throws -> Stored? {
        let packed = try packed ?? packedNodes()
        if let stored = packed[cid] { return stored }
        return try reader.first("SELECT rev, bytes FROM mst_node WHERE repo = \(repo) AND cid = \(cid.sql)") {
            Stored(rev: try $0.text(0), block: try $0.bytes(1))
        }
    }

    private func packedNodes() throws -> [CID: Stored] {
        var nodes: [CID: Stored] = [:]
        for node in try pack().nodes { nodes[node.cid] = Stored(rev: node.rev.bytes, block: node.block) }
        packed = nodes
        return nodes
    }
}
