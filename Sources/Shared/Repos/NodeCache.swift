internal import ATProto
internal import Base
internal import Crypto

/// MST nodes of any repository, by CID: what a CID names never changes, so nothing here is ever stale.
///
/// Two generations bound it: what is asked for moves to the young one; when that is full the old one is let go.
public final class NodeCache: Sendable {
    private struct Generations {
        var young: [CID: MSTNode] = [:]
        var old: [CID: MSTNode] = [:]
        var youngSize = 0
    }

    private static let shardCount = 16
    private let shards: [Guarded<Generations>]
    private let generationSizeMax: Int

    /// `sizeMax`: bytes of memory, about.
    public init(sizeMax: Int = 32 << 20) {
        generationSizeMax = max(1, sizeMax / 2 / Self.shardCount)
        shards = (0..<Self.shardCount).map { _ in Guarded(Generations()) }
    }

    private func shard(_ cid: CID) -> Guarded<Generations> {
        shards[Int(truncatingIfNeeded: cid.digest.words.1) & (Self.shardCount - 1)]
    }

    func node(_ cid: CID) -> MSTNode? {
        shard(cid).withLock { generations in
            if let node = generations.young[cid] { return node }
            guard let node = generations.old[cid] else { return nil }
            insert(node, cid, &generations)
            return node
        }
    }

    /// Nothing happens with a node that is not sealed.
    func insert(_ node: MSTNode) {
        guard let cid = node.cid else { return }
        shard(cid).withLock { insert(node, cid, &$0) }
    }

    private func insert(_ node: MSTNode, _ cid: CID, _ generations: inout Generations) {
        guard generations.young.updateValue(node, forKey: cid) == nil else { return }
        generations.youngSize += Self.size(node)
        if generations.youngSize > generationSizeMax {
            generations.old = generations.young
            generations.young = [:]
            generations.youngSize = 0
        }
    }

    /// Bytes that a node holds: three arrays of 16, 33 and 41 bytes an element, the keys, and what surrounds them.
    private static func size(_ node: MSTNode) -> Int {
        node.keys.reduce(400) { $0 + $1.count + 104 }
    }
}
