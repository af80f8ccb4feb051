import ATProto
import Base
import Crypto

extension FuzzTarget {
    private static let value = CID(hashing: [1, 2, 3])
    private static let did = DID("did:plc:yk4dd2qkboz2yv6tpubpc6co")

    /// A tree of a few dozen keys: its blocks, the root's first.
    private static let tree: [(cid: CID, block: [UInt8])] = {
        var blocks: [(CID, [UInt8])] = []
        let builder = MSTBuilder { cid, block in blocks.append((cid, [UInt8](block))) }
        for number in 10..<60 { try? builder.append(Bytes("app.bsky.feed.post/3jzfcijpj2z\(number)"), value) }
        _ = try? builder.finish()
        return blocks.reversed()
    }()

    private static let commit: [UInt8] = {
        guard let did, let rev = TID("3jzfcijpj2z2a") else { return [] }
        return Commit(did: did, rev: rev, data: value, signature: Bytes([UInt8](repeating: 7, count: 64))).encoded()
    }()

    /// Of version 2: no `rev`, and a `prev`.
    private static let oldCommit = Value.object([
        .init(key: "did", value: .text("did:plc:yk4dd2qkboz2yv6tpubpc6co")),
        .init(key: "sig", value: .bytes(Bytes([UInt8](repeating: 7, count: 64)))),
        .init(key: "data", value: .link(value)), .init(key: "prev", value: .link(value)),
        .init(key: "version", value: .integer(2)),
    ])

    private static let archive: [UInt8] = {
        var out: [UInt8] = []
        CARWriter.appendHeader(CID(hashing: commit), to: &out)
        CARWriter.append(CID(hashing: commit), commit, to: &out)
        for (cid, block) in tree { CARWriter.append(cid, block, to: &out) }
        return out
    }()

    /// The blocks of a repository.
    static let repository: [FuzzTarget] = [
        FuzzTarget("car", corpus: [archive, Array(archive.prefix(59))]) { input in
            guard let reader = try? CARReader(Bytes(input)) else { return nil }
            var again: [UInt8] = []
            CARWriter.appendHeader(reader.root, to: &again)
            do {
                try reader.each { cid, block in CARWriter.append(cid, block, to: &again) }
            } catch { return reader.offset > input.count ? "the cursor is past the end" : nil }
            return again == input ? nil : "writes other bytes"
        },
        // libFuzzer can't find preimages, so blocks get their right CIDs here: what follows is what a hostile
        // repository can send.
        FuzzTarget("mst-node", corpus: tree.map(\.block)) { input in
            guard let node = try? MSTNode.decode(Bytes(input), cid: CID(hashing: input)) else { return nil }
            if node.encoded() != input { return "encodes to other bytes" }
            if zip(node.keys, node.keys.dropFirst()).contains(where: { $0 >= $1 }) { return "keys out of order" }
            return nil
        },
        FuzzTarget("foreign-commit", corpus: [commit, DAGCBOR.encode(oldCommit)]) { input in
            guard let commit = try? ForeignCommit(Bytes(input)) else { return nil }
            // Whatever version 3 allows here is read the same by the strict decoder.
            if let strict = try? Commit.decode(Bytes(input)) {
                let isSame = strict.did == commit.did && strict.rev == commit.rev && strict.data == commit.data
                return isSame ? nil : "read otherwise than as a commit of version 3"
            }
            return commit.data.codec == .dagCBOR ? nil : "a tree of another codec"
        },
        FuzzTarget("mst-tree", corpus: [tree.flatMap { lengthPrefixed($0.block) }]) { input in
            let blocks = split(input)
            guard let first = blocks.first else { return nil }
            let root = CID(hashing: first)
            let stored = Dictionary(blocks.map { (CID(hashing: $0), $0) }, uniquingKeysWith: { first, _ in first })
            let load: MSTLoader = { cid in
                guard let block = stored[cid] else { throw MSTError(.missingBlock, in: cid) }
                return try MSTNode.decode(Bytes(block), cid: cid)
            }
            guard var tree = try? MST(root: root, load: load) else { return nil }
            var keys: [Bytes] = []
            let isWhole =
                (try? tree.each { key, _ in
                    keys.append(key); return keys.count < 10_000
                }) != nil
            if zip(keys, keys.dropFirst()).contains(where: { $0 >= $1 }) { return "keys out of order" }
            for key in keys.prefix(4) { if isWhole, (try? tree.get(key)) == nil { return "a key is not found" } }
            _ = try? tree.put("app.bsky.feed.post/self", value)
            if let key = keys.first { _ = try? tree.remove(key) }
            _ = tree.seal()
            return nil
        },
        FuzzTarget("commit", corpus: [commit]) { input in
            guard let decoded = try? Commit.decode(Bytes(input)) else { return nil }
            return decoded.encoded() == input ? nil : "encodes to other bytes"
        },
    ]

    private static func lengthPrefixed(_ block: [UInt8]) -> [UInt8] {
        [UInt8(truncatingIfNeeded: block.count >> 8), UInt8(truncatingIfNeeded: block.count)] + block
    }

    /// Blocks behind two bytes of length each; what is cut is taken as it is.
    private static func split(_ input: [UInt8]) -> [[UInt8]] {
        var blocks: [[UInt8]] = []
        var at = 0
        while at + 2 <= input.count {
            let count = Int(input[at]) << 8 | Int(input[at + 1])
            let end = min(at + 2 + count, input.count)
            blocks.append(Array(input[(at + 2)..<end]))
            at = end
        }
        return blocks
    }
}
