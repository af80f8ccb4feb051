// The in-process side of scripts/bench: the protocol's codecs, one thread, no input or output while it measures.
//
//   bench-core cbor FILE       decode and encode of the records in FILE (each: 4 bytes of length, big-endian, DAG-CBOR)
//   bench-core mst COUNT       an MST of COUNT sorted keys: keys a second, and the root
//   bench-core car FILE        parse of a CAR with every block verified, and SHA-256 alone over the same bytes
//   bench-core check           nanoseconds of checking a post against its lexicon: a plain one, and one with all there is
//   bench-core insert COUNT    CPU of one insert (record, tree, signed commit) into a repository of COUNT keys
//                              and into an empty one
//
// Each prints one line of JSON.
internal import ATProto
internal import Base
internal import Crypto
internal import Glibc
internal import Lexicons

func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func contents(of path: String) -> [UInt8] {
    guard let file = fopen(path, "r") else { return [] }
    defer { fclose(file) }
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { return all }
        all.append(contentsOf: buffer[..<count])
    }
}

/// The key of the benchmark's record number `index`: sorted, as TIDs are.
func key(_ index: Int) -> Bytes {
    let alphabet = Array("234567abcdefghijklmnopqrstuvwxyz".utf8)
    var text = Array("app.bsky.feed.post/3k".utf8)
    for position in (0..<11).reversed() { text.append(alphabet[(index >> (position * 5)) & 31]) }
    return Bytes(text)
}

let value = CID(hashing: Array("value".utf8))

func cbor(_ path: String) throws {
    let bytes = contents(of: path)
    var records: [Bytes] = []
    var offset = 0
    while offset + 4 <= bytes.count {
        let count = bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
        records.append(Bytes(Array(bytes[(offset + 4)..<(offset + 4 + count)])))
        offset += 4 + count
    }
    let size = Double(records.reduce(0) { $0 + $1.count })
    var decoding: [Double] = []
    var encoding: [Double] = []
    for _ in 0..<9 {
        var start = cpuSeconds()
        var values: [Value] = []
        values.reserveCapacity(records.count)
        for record in records { values.append(try DAGCBOR.decode(record)) }
        decoding.append(size / (cpuSeconds() - start) / 1e6)
        start = cpuSeconds()
        var written = 0
        for value in values { written += DAGCBOR.encode(value).count }
        encoding.append(size / (cpuSeconds() - start) / 1e6)
        guard written == Int(size) else { throw CBORError(.trailingData, at: written) }
    }
    print("{\"decode_mb_per_second\": \(median(decoding)), \"encode_mb_per_second\": \(median(encoding))}")
}

func mst(_ count: Int) throws {
    let keys = (0..<count).map(key)
    var rates: [Double] = []
    var root = value
    for _ in 0..<3 {
        let start = cpuSeconds()
        let builder = MSTBuilder()
        for key in keys { try builder.append(key, value) }
        root = try builder.finish()
        rates.append(Double(count) / (cpuSeconds() - start))
    }
    print("{\"keys_per_second\": \(median(rates)), \"root\": \"\(root)\"}")
}

func car(_ path: String) throws {
    let bytes = contents(of: path)
    var parsing: [Double] = []
    var hashing: [Double] = []
    for _ in 0..<7 {
        var start = cpuSeconds()
        var blocks = 0
        try CARReader(Bytes(bytes)).each { _, _ in blocks += 1 }
        parsing.append(Double(bytes.count) / (cpuSeconds() - start) / 1e6)
        start = cpuSeconds()
        let digest = SHA256.hash(bytes)
        hashing.append(Double(bytes.count) / (cpuSeconds() - start) / 1e6)
        guard blocks > 0, digest.bytes.count == 32 else { throw CARError(.truncated, at: 0) }
    }
    print("{\"parse_mb_per_second\": \(median(parsing)), \"sha256_mb_per_second\": \(median(hashing))}")
}

/// CPU microseconds of one of `rounds` inserts, one after the other, each with its own signed commit.
func inserts(after count: Int, rounds: Int) throws -> Double {
    // What a server has: a cache of nodes by CID, filled by what it reads and by what it writes.
    final class Cache {
        var blocks: [CID: Bytes] = [:]
        var nodes: [CID: MSTNode] = [:]
    }
    let cache = Cache()
    let builder = MSTBuilder { cid, block in cache.blocks[cid] = Bytes(block) }
    for index in 0..<count { try builder.append(key(index), value) }
    var root = try builder.finish()
    let load: MSTLoader = { cid in
        if let node = cache.nodes[cid] { return node }
        guard let block = cache.blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
        let node = try MSTNode.decode(block, cid: cid)
        cache.nodes[cid] = node
        return node
    }
    let signing = try SigningKey(algorithm: .k256, secret: Secret([UInt8](repeating: 7, count: 32)))
    guard let did = DID("did:plc:ewvi7nxzyoun6zhxrhs64oiz") else { return 0 }
    let clock = TIDMaker(clockID: 1)
    func insertOne(_ index: Int) throws {
        let record = DAGCBOR.encode(
            .object([
                Value.Entry(key: "$type", value: .text("app.bsky.feed.post")),
                Value.Entry(key: "text", value: .text(Bytes("A post of the ordinary length, number \(index)."))),
                Value.Entry(key: "createdAt", value: .text("2026-01-01T00:00:00.000Z")),
            ]))
        var tree = try MST(root: root, load: load)
        try tree.put(key(index), CID(hashing: record))
        let sealed = tree.seal()
        let commit = try Commit(
            did: did, rev: clock.next(now: Timestamp(seconds: 1_767_225_600)), data: sealed.root, signedBy: signing)
        guard CID(hashing: commit.encoded()).codec == .dagCBOR else { return }
        for (node, _) in sealed.new { if let cid = node.cid { cache.nodes[cid] = node } }
        for cid in sealed.obsolete { cache.nodes[cid] = nil }
        root = sealed.root
    }
    // The first insert loads the right edge.
    let empty = root
    let emptyNode = cache.nodes[root]
    try insertOne(count)
    let start = cpuSeconds()
    for round in 1...rounds {
        if count == 0, round % 20 == 0 {
            root = empty
            cache.nodes[empty] = emptyNode
        }
        try insertOne(count + round)
    }
    return (cpuSeconds() - start) / Double(rounds) * 1e6
}

func insert(_ count: Int) throws {
    let empty = median(try (0..<5).map { _ in try inserts(after: 0, rounds: 2_000) })
    let full = median(try (0..<5).map { _ in try inserts(after: count, rounds: 2_000) })
    print("{\"empty_microseconds\": \(empty), \"full_microseconds\": \(full)}")
}

/// A post as most are, and one with facets, a reply, four images, languages, labels and tags.
let posts: [(name: String, json: Bytes)] = {
    let blob = """
        {"$type":"blob","ref":{"$link":"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},\
        "mimeType":"image/jpeg","size":123456}
        """
    let ref = """
        {"uri":"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3lrlab2eoy22a",\
        "cid":"bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"}
        """
    let image = "{\"alt\":\"A picture of something\",\"image\":\(blob),\"aspectRatio\":{\"width\":4,\"height\":3}}"
    let images = [image, image, image, image].joined(separator: ",")
    let plain = """
        "$type":"app.bsky.feed.post","text":"A post of the ordinary length, with a few words in it.",\
        "createdAt":"2026-01-01T00:00:00.000Z","langs":["en"]
        """
    let full = """
        ,"embed":{"$type":"app.bsky.embed.images","images":[\(images)]},"reply":{"root":\(ref),"parent":\(ref)},\
        "tags":["one","two"],"labels":{"$type":"com.atproto.label.defs#selfLabels","values":[{"val":"nudity"}]},\
        "facets":[{"index":{"byteStart":0,"byteEnd":6},"features":[{"$type":"app.bsky.richtext.facet#link",\
        "uri":"https://example.com/a/page"}]},{"index":{"byteStart":7,"byteEnd":9},"features":[\
        {"$type":"app.bsky.richtext.facet#mention","did":"did:plc:ewvi7nxzyoun6zhxrhs64oiz"}]}]
        """
    return [("plain", Bytes("{\(plain)}")), ("full", Bytes("{\(plain)\(full)}"))]
}()

func check() throws {
    guard let nsid = NSID("app.bsky.feed.post"), let schema = RecordSchema.builtIn(nsid) else { return }
    var results: [String] = []
    for (name, json) in posts {
        let value = try JSON.parse(json)
        guard schema.closed.check(value) == .valid else { return }
        let rounds = 20_000
        let times = (0..<9).map { _ in
            let start = cpuSeconds()
            for _ in 0..<rounds { _ = schema.closed.problem(value) }
            return (cpuSeconds() - start) / Double(rounds) * 1e9
        }
        results.append("\"\(name)_nanoseconds\": \(median(times))")
    }
    print("{\(results.joined(separator: ", "))}")
}

let words = CommandLine.arguments
switch (words.count, words.dropFirst().first) {
case (3, "cbor"): try cbor(words[2])
case (3, "mst"): try mst(Int(words[2]) ?? 0)
case (3, "car"): try car(words[2])
case (2, "check"): try check()
case (3, "insert"): try insert(Int(words[2]) ?? 0)
default: print("usage: bench-core cbor FILE | mst COUNT | car FILE | check | insert COUNT")
}
