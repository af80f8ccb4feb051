import Testing

@testable import ATProto
@testable import Base

/// Trees that no honest repository has: reliability's C045 to C048.
@Suite struct MSTHostileTests {
    struct Entry {
        var key: Bytes
        var prefix: Int
        var child: CID?
    }

    static func block(_ entries: [Entry], left: CID? = nil) -> [UInt8] {
        var out = CBORWriter()
        out.map(2)
        out.key("e")
        out.array(entries.count)
        for entry in entries {
            out.map(4)
            out.key("k")
            out.bytes(entry.key)
            out.key("p")
            out.integer(Int64(entry.prefix))
            out.key("t")
            out.optionalLink(entry.child)
            out.key("v")
            out.link(cid(1))
        }
        out.key("l")
        out.optionalLink(left)
        return out.out
    }

    /// `count` keys of `layer` in order.
    static func keys(layer: Int, _ count: Int, from first: Int = 0) -> [Bytes] {
        var found: [Bytes] = []
        var number = first
        while found.count < count {
            let digits = String(number)
            let key = Bytes("a.b/" + String(repeating: "0", count: 8 - digits.count) + digits)
            if MSTKey.layer(of: key) == layer { found.append(key) }
            number += 1
        }
        return found
    }

    @Test func nodes() throws {
        let zero = Self.keys(layer: 0, 3)
        let one = Self.keys(layer: 1, 1)[0]
        let shared = zero[0].withUnsafeBytes { a in zero[1].withUnsafeBytes { MSTBlockWriter.sharedPrefix(a, $0) } }
        let good = Self.block([Entry(key: zero[0], prefix: 0), Entry(key: zero[1].from(shared), prefix: shared)])
        #expect(try MSTNode.decode(Bytes(good), cid: CID(hashing: good)).encoded() == good)
        let long = Bytes("a.b/" + String(repeating: "x", count: 1_021))
        let many = Self.block((0..<5_000).map { _ in Entry(key: "a", prefix: 0) })
        var unsorted = CBORWriter()
        unsorted.map(2)
        unsorted.key("l")
        unsorted.null()
        unsorted.key("e")
        unsorted.array(0)
        let rows: [(String, [UInt8], MSTError.Reason)] = [
            ("first entry with a prefix", Self.block([Entry(key: zero[0], prefix: 1)]), .wrongPrefix),
            (
                "prefix longer than the key before",
                Self.block([Entry(key: zero[0], prefix: 0), Entry(key: "x", prefix: 200)]), .wrongPrefix
            ),
            (
                "not the longest prefix",
                Self.block([Entry(key: zero[0], prefix: 0), Entry(key: zero[1].from(2), prefix: 2)]), .wrongPrefix
            ),
            (
                "unsorted",
                Self.block([Entry(key: zero[1], prefix: 0), Entry(key: zero[0].from(shared), prefix: shared)]),
                .keysNotSorted
            ),
            (
                "the same key twice",
                Self.block([Entry(key: zero[0], prefix: 0), Entry(key: "", prefix: zero[0].count)]), .keysNotSorted
            ),
            (
                "two layers in a node",
                Self.block(
                    [zero[0], one].sorted().enumerated().map { index, key in
                        let shared = [zero[0], one].min()!.withUnsafeBytes { a in
                            [zero[0], one].max()!.withUnsafeBytes { MSTBlockWriter.sharedPrefix(a, $0) }
                        }
                        return index == 0 ? Entry(key: key, prefix: 0) : Entry(key: key.from(shared), prefix: shared)
                    }), .wrongLayer
            ),
            ("5,000 entries", many, .tooManyEntries),
            ("key of 1,025 bytes", Self.block([Entry(key: long, prefix: 0)]), .invalidKey),
            ("two slashes in a row", Self.block([Entry(key: "a//b", prefix: 0)]), .invalidKey),
            ("three parts", Self.block([Entry(key: "a/b/c", prefix: 0)]), .invalidKey),
            ("not ASCII", Self.block([Entry(key: "a/é", prefix: 0)]), .invalidKey),
            ("dots", Self.block([Entry(key: "../x", prefix: 0)]), .invalidKey),
            ("dot as rkey", Self.block([Entry(key: "a/.", prefix: 0)]), .invalidKey),
            ("no slash", Self.block([Entry(key: "abc", prefix: 0)]), .invalidKey),
            ("empty rkey", Self.block([Entry(key: "abc/", prefix: 0)]), .invalidKey),
            ("NUL", Self.block([Entry(key: "a/b\0", prefix: 0)]), .invalidKey),
            ("map keys in another order", unsorted.out, .malformed(.mapKeys)),
            ("trailing byte", good + [0], .malformed(.trailingData)),
            ("cut off", [UInt8](good.dropLast()), .malformed(.truncated)),
            ("an array", [0x80], .malformed(.unexpectedType)),
            ("empty", [], .malformed(.truncated)),
        ]
        for (name, bytes, reason) in rows {
            let own = CID(hashing: bytes)
            #expect(throws: MSTError(reason, in: own), "\(name)") { try MSTNode.decode(Bytes(bytes), cid: own) }
        }
    }

    /// Walks the whole tree under `root` and returns why it is refused.
    static func refusal(_ root: CID, _ store: Blocks) -> MSTError.Reason? {
        do {
            let tree = try MST(root: root, load: store.load)
            try tree.each { _, _ in true }
            return nil
        } catch {
            return (error as? MSTError)?.reason
        }
    }

    @Test func trees() throws {
        let store = Blocks()
        func add(_ entries: [Entry], left: CID? = nil) -> CID {
            let block = Self.block(entries, left: left)
            let cid = CID(hashing: block)
            store.blocks[cid] = Bytes(block)
            return cid
        }
        let zero = Self.keys(layer: 0, 2)
        let one = Self.keys(layer: 1, 1, from: 100)[0]
        let two = Self.keys(layer: 2, 1, from: 100)[0]
        let later = Self.keys(layer: 0, 1, from: 90_000_000)[0]
        let leaf = add([Entry(key: zero[0], prefix: 0)])
        let late = add([Entry(key: later, prefix: 0)])
        let empty = add([])
        let rows: [(String, CID, MSTError.Reason?)] = [
            ("in order", add([Entry(key: one, prefix: 0, child: late)], left: leaf), nil),
            ("child too deep", add([Entry(key: two, prefix: 0)], left: leaf), .wrongLayer),
            ("child of the same layer", add([Entry(key: zero[1], prefix: 0)], left: leaf), .wrongLayer),
            ("left child after its key", add([Entry(key: one, prefix: 0)], left: late), .keyOutOfRange),
            ("right child before its key", add([Entry(key: one, prefix: 0, child: leaf)]), .keyOutOfRange),
            (
                "the same child on both sides", add([Entry(key: one, prefix: 0, child: leaf)], left: leaf),
                .keyOutOfRange
            ),
            ("empty leaf", add([Entry(key: one, prefix: 0)], left: empty), .emptyNode),
            ("root without entries", add([], left: leaf), .untrimmedRoot),
            ("missing block", add([Entry(key: one, prefix: 0)], left: cid(5)), .missingBlock),
        ]
        for (name, root, reason) in rows { #expect(Self.refusal(root, store) == reason, "\(name)") }
    }

    /// Thirty levels of nodes that each point at one child from everywhere: 2^30 paths or more, refused at once.
    @Test func diamond() throws {
        let store = Blocks()
        var loads = 0
        let keys = Self.keys(layer: 0, 15)
        var child: CID?
        for _ in 0..<30 {
            var entries: [Entry] = []
            for (index, key) in keys.enumerated() {
                let shared =
                    index == 0
                    ? 0
                    : keys[index - 1].withUnsafeBytes { a in key.withUnsafeBytes { MSTBlockWriter.sharedPrefix(a, $0) }
                    }
                entries.append(Entry(key: key.from(shared), prefix: shared, child: child))
            }
            let block = Self.block(entries, left: child)
            let own = CID(hashing: block)
            store.blocks[own] = Bytes(block)
            child = own
        }
        let tree = try MST(root: try #require(child)) {
            loads += 1
            return try store.load($0)
        }
        #expect(throws: MSTError.self) { try tree.each { _, _ in true } }
        #expect(loads <= 3)

        // The same with nodes that have no keys, so that the layers are right all the way down.
        let top = Self.keys(layer: 3, 2)
        let shared = top[0].withUnsafeBytes { a in top[1].withUnsafeBytes { MSTBlockWriter.sharedPrefix(a, $0) } }
        func add(_ entries: [Entry], left: CID?) -> CID {
            let block = Self.block(entries, left: left)
            let cid = CID(hashing: block)
            store.blocks[cid] = Bytes(block)
            return cid
        }
        let leaf = add([Entry(key: Self.keys(layer: 0, 1)[0], prefix: 0)], left: nil)
        let middle = add([], left: add([], left: leaf))
        let root = add(
            [
                Entry(key: top[0], prefix: 0, child: middle),
                Entry(key: top[1].from(shared), prefix: shared, child: middle),
            ],
            left: middle)
        #expect(Self.refusal(root, store) == .keyOutOfRange)
    }

    @Test func puttingBadKeys() throws {
        var tree = MST { _ in MSTNode.empty }
        for key: Bytes in ["", "a", "a/", "/a", "a/b/c", "a b/c", "../x", "a/..", "a/b\n"] {
            #expect(throws: MSTError(.invalidKey), "\(key)") { try tree.put(key, cid(1)) }
        }
        let builder = MSTBuilder()
        try builder.append("a/b", cid(1))
        #expect(throws: MSTError(.builderOrder)) { try builder.append("a/b", cid(1)) }
        #expect(throws: MSTError(.builderOrder)) { try builder.append("a/a", cid(1)) }
        #expect(throws: MSTError(.invalidKey)) { try builder.append("b", cid(1)) }
    }
}
