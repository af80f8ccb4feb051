import Foundation
import Testing

@testable import ATProto
@testable import Base

@Suite struct MSTVectorTests {
    @Test func emptyTree() throws {
        let wanted = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
        #expect(MSTNode.empty.cid?.description == wanted)
        #expect(try MSTBuilder().finish().description == wanted)
        var tree = MST { _ in MSTNode.empty }
        try tree.put("a/b", cid(1))
        try tree.remove("a/b")
        #expect(tree.seal().root.description == wanted)
    }

    @Test(.enabled(if: Shared.isThere)) func layers() throws {
        struct Row: Decodable { var key: String, height: Int }
        for row in try Shared.json("vectors/mst/key_heights.json", as: [Row].self) {
            #expect(MSTKey.layer(of: Bytes(row.key)) == row.height, "\(row.key)")
        }
    }

    @Test(.enabled(if: Shared.isThere)) func sharedPrefixes() throws {
        struct Row: Decodable { var left: String, right: String, len: Int }
        for row in try Shared.json("vectors/mst/common_prefix.json", as: [Row].self) {
            let found = Bytes(row.left).withUnsafeBytes { left in
                Bytes(row.right).withUnsafeBytes { MSTBlockWriter.sharedPrefix(left, $0) }
            }
            #expect(found == row.len, "\(row.left) \(row.right)")
        }
    }

    struct Fixture: Decodable {
        var comment: String, leafValue: String, keys: [String], adds: [String], dels: [String]
        var rootBeforeCommit: String, rootAfterCommit: String, blocksInProof: [String]
    }

    /// The covering blocks of each fixture are exactly those listed, and they alone are enough to invert the commit.
    @Test(.enabled(if: Shared.isThere)) func commitProofs() throws {
        for fixture in try Shared.json("vectors/firehose/commit-proof-fixtures.json", as: [Fixture].self) {
            let value = try cid(fixture.leafValue)
            let store = Blocks()
            var tree = MST(load: store.load)
            for key in fixture.keys { try tree.put(Bytes(key), value) }
            store.apply(tree.seal())
            #expect(tree.rootCID?.description == fixture.rootBeforeCommit, "\(fixture.comment)")
            let before = try #require(tree.rootCID)

            var operations: [MSTOperation] = []
            for key in fixture.adds {
                #expect(try tree.put(Bytes(key), value) == nil)
                operations.append(MSTOperation(key: Bytes(key), value: value, previous: nil))
            }
            for key in fixture.dels {
                #expect(try tree.remove(Bytes(key)) == value)
                operations.append(MSTOperation(key: Bytes(key), value: nil, previous: value))
            }
            store.apply(tree.seal())
            let after = try #require(tree.rootCID)
            #expect(after.description == fixture.rootAfterCommit, "\(fixture.comment)")

            let proof = try tree.inversionNodes(operations)
            #expect(
                Set(proof.compactMap { $0.cid?.description }) == Set(fixture.blocksInProof), "\(fixture.comment)")

            let partial = Blocks()
            for node in proof { partial.blocks[try #require(node.cid)] = Bytes(node.encoded()) }
            var inverted = try MST(root: after, load: partial.load)
            try inverted.invert(operations)
            #expect(inverted.seal().root == before, "\(fixture.comment)")
        }
    }

    @Test(.enabled(if: Shared.isThere)) func exampleKeysInAnyOrder() throws {
        let text = String(decoding: try Shared.data("vectors/mst/example_keys.txt"), as: UTF8.self)
        let keys = text.split(separator: "\n").map { Bytes(String($0)) }
        #expect(keys.count == 156)
        let built = try Blocks.built(Dictionary(uniqueKeysWithValues: keys.map { ($0, cid(7)) }))
        for seed in 0..<20 {
            var numbers = Numbers(state: UInt64(seed))
            var tree = MST { throw MSTError(.missingBlock, in: $0) }
            for key in keys.shuffled(using: &numbers) { try tree.put(key, cid(7)) }
            #expect(tree.seal().root == built.root)
        }
    }
}

/// Random batches against a dictionary: what a repository does all day.
@Suite struct MSTPropertyTests {
    static func key(_ numbers: inout Numbers, of count: Int) -> Bytes {
        let number = Int.random(in: 0..<count, using: &numbers)
        return Bytes(
            "app.bsky.\(["feed.post", "feed.like", "graph.follow"][number % 3])/3l\(number * 7919 % 1_000_003)")
    }

    /// After every batch: the root is the builder's, what is stored is exactly what is reachable, and the operations
    /// can be taken back with nothing but the new nodes and the covering ones, in any order.
    @Test(arguments: [(seed: 1, keys: 12), (2, 40), (3, 200), (4, 1_500)])
    func batches(_ row: (seed: Int, keys: Int)) throws {
        var numbers = Numbers(state: UInt64(row.seed))
        let store = Blocks()
        var tree = MST(load: store.load)
        store.apply(tree.seal())
        store.blocks[try #require(MSTNode.empty.cid)] = Bytes(MSTNode.empty.encoded())
        var model: [Bytes: CID] = [:]
        for round in 0..<600 {
            let before = try #require(tree.rootCID)
            let old = model
            var touched: Set<Bytes> = []
            for _ in 0..<Int.random(in: 1...(round % 10 == 0 ? 30 : 4), using: &numbers) {
                let key = Self.key(&numbers, of: row.keys)
                touched.insert(key)
                if Int.random(in: 0..<5, using: &numbers) < 2 {
                    #expect(try tree.remove(key) == model[key])
                    model[key] = nil
                } else {
                    let value = cid(UInt64.random(in: 0..<1_000, using: &numbers))
                    #expect(try tree.put(key, value) == model[key])
                    model[key] = value
                }
            }
            let sealed = tree.seal()
            for node in sealed.new { #expect(try store.blocks[#require(node.node.cid)] == nil) }
            for cid in sealed.obsolete { #expect(store.blocks[cid] != nil) }
            store.apply(sealed)
            let built = try Blocks.built(model)
            #expect(sealed.root == built.root)
            #expect(Set(store.blocks.keys) == Set(built.blocks.blocks.keys))
            tree = try MST(root: sealed.root, load: store.load)

            var operations = touched.sorted().compactMap { key in
                old[key] == model[key] ? nil : MSTOperation(key: key, value: model[key], previous: old[key])
            }
            let partial = Blocks()
            for node in sealed.new { partial.blocks[try #require(node.node.cid)] = Bytes(node.block) }
            for node in try tree.inversionNodes(operations) {
                partial.blocks[try #require(node.cid)] = Bytes(node.encoded())
            }
            if partial.blocks.isEmpty { continue }
            for order in 0..<3 {
                if order == 1 {
                    operations.sort { ($0.value == nil ? 0 : 1, $0.key) < ($1.value == nil ? 0 : 1, $1.key) }
                }
                if order == 2 { operations.shuffle(using: &numbers) }
                var inverted = try MST(root: sealed.root, load: partial.load)
                try inverted.invert(operations)
                #expect(inverted.seal().root == before)
            }
        }
    }

    @Test func invertRefusesWhatDidNotHappen() throws {
        let store = Blocks()
        var tree = MST(load: store.load)
        for number in 0..<50 { try tree.put(Bytes("a.b/\(number)"), cid(number)) }
        store.apply(tree.seal())
        let root = try #require(tree.rootCID)
        let rows: [(String, MSTOperation)] = [
            ("created, but not there", MSTOperation(key: "a.b/x", value: cid(1), previous: nil)),
            ("created with another value", MSTOperation(key: "a.b/7", value: cid(8), previous: nil)),
            ("updated, but not there", MSTOperation(key: "a.b/x", value: cid(1), previous: cid(2))),
            ("updated to another value", MSTOperation(key: "a.b/7", value: cid(8), previous: cid(2))),
            ("updated to the same", MSTOperation(key: "a.b/7", value: cid(7), previous: cid(7))),
            ("deleted, but still there", MSTOperation(key: "a.b/7", value: nil, previous: cid(7))),
        ]
        for (name, operation) in rows {
            var inverted = try MST(root: root, load: store.load)
            #expect(throws: MSTError(.operationMismatch), "\(name)") { try inverted.invert([operation]) }
        }
    }

    @Test func differences() throws {
        var numbers = Numbers(state: 99)
        for _ in 0..<200 {
            var old: [Bytes: CID] = [:]
            for _ in 0..<Int.random(in: 0...300, using: &numbers) {
                old[Self.key(&numbers, of: 500)] = cid(Int.random(in: 0..<5, using: &numbers))
            }
            var new = old
            for _ in 0..<Int.random(in: 0...20, using: &numbers) {
                let key = Self.key(&numbers, of: 500)
                new[key] = Bool.random(using: &numbers) ? nil : cid(Int.random(in: 0..<5, using: &numbers))
            }
            let (left, right) = (try Blocks.built(old), try Blocks.built(new))
            var found: [MST.Difference] = []
            try MST.difference(
                from: MST(root: left.root, load: left.blocks.load), to: MST(root: right.root, load: right.blocks.load)
            ) { found.append($0) }
            let wanted = Set(old.keys).union(new.keys).sorted().compactMap { key in
                old[key] == new[key] ? nil : MST.Difference(key: key, value: new[key], previous: old[key])
            }
            #expect(found == wanted)
        }
    }

    @Test func differenceWalksLittle() throws {
        var records: [Bytes: CID] = [:]
        for number in 0..<20_000 { records[Bytes("a.b/\(number)")] = cid(1) }
        let old = try Blocks.built(records)
        records["a.b/777x"] = cid(2)
        let new = try Blocks.built(records)
        var loads = 0
        var count = 0
        try MST.difference(
            from: MST(root: old.root) {
                loads += 1; return try old.blocks.load($0)
            },
            to: MST(root: new.root) {
                loads += 1; return try new.blocks.load($0)
            }
        ) {
            #expect($0 == MST.Difference(key: "a.b/777x", value: cid(2), previous: nil)); count += 1
        }
        #expect(count == 1)
        #expect(loads < 60, "of \(old.blocks.blocks.count) nodes")
    }

    @Test func walks() throws {
        var records: [Bytes: CID] = [:]
        for number in 0..<2_000 { records[Bytes("a.b/\(number)")] = cid(number) }
        let built = try Blocks.built(records)
        let tree = try MST(root: built.root, load: built.blocks.load)
        let keys = records.keys.sorted()
        for first: Bytes in ["", "a.b/1500", "a.b/15000", "a.b/999", "a.b/9999", "b"] {
            var seen: [Bytes] = []
            try tree.each(from: first) { key, value in
                #expect(records[key] == value)
                seen.append(key)
                return true
            }
            #expect(seen == keys.filter { !($0 < first) })
        }
        var seen = 0
        try tree.each { _, _ in
            seen += 1
            return seen < 10
        }
        #expect(seen == 10)

        var order: [Bytes] = []
        var nodes: Set<CID> = []
        try tree.preorder { item in
            switch item {
            case .node(let node):
                guard let cid = node.cid else { throw MSTError(.missingBlock) }
                #expect(nodes.insert(cid).inserted)
            case .record(let key, _): order.append(key)
            }
            return .into
        }
        #expect(order == keys)
        #expect(nodes == Set(built.blocks.blocks.keys))
        for key in keys.prefix(50) { #expect(try tree.get(key) == records[key]) }
        for key: Bytes in ["a.b/2000", "a.b/", "z"] { #expect(try tree.get(key) == nil) }

        // A path alone proves that a key is there, or that it is not.
        for (key, value) in [("a.b/1234", cid(1_234)), ("a.b/1234x", nil)] as [(Bytes, CID?)] {
            let partial = Blocks()
            try tree.path(to: key) { partial.blocks[try #require($0.cid)] = Bytes($0.encoded()) }
            #expect(partial.blocks.count < 12)
            #expect(try MST(root: built.root, load: partial.load).get(key) == value)
        }
    }
}
