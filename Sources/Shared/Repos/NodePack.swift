internal import ATProto
internal import Base
internal import Crypto
internal import Storage

/// The part of a repository's tree that changed last, in one row that each commit writes anew: nodes that are no rows
/// of their own yet, and the CIDs of rows that the tree no longer holds.
///
/// A commit makes the nodes of one path new and those of the commit before obsolete: most nodes live for one commit and
/// never leave the pack. When it grows too long, its oldest nodes become rows, and obsolete rows go (`Spill`).
///
/// As CBOR: `[2, [cid, revision, block, …], [cid, …]]`, CIDs and blocks byte strings, revisions integers; then zeros up
/// to a multiple of `padding`, so that the row mostly keeps its length and is overwritten where it is. Before there was
/// one row for each commit, `[[cid, block, …], [cid, …]]` under its revision: such rows are read too.
struct NodePack {
    struct Node {
        let cid: CID
        /// The commit that made it.
        let rev: TID
        let block: Bytes
    }

    /// Rows that are to be written and removed with a commit.
    struct Spill {
        var nodes: ArraySlice<Node> = []
        var gone: [CID] = []
    }

    /// The oldest first.
    private(set) var nodes: [Node] = []
    private(set) var gone: [CID] = []
    /// Whether rows of the older form are to be removed when this is stored.
    private var replacesRows = false

    init() {}

    // MARK: Changing

    /// With its padding this is a row that still fits into one page.
    static let sizeMax = 3_500
    /// A pack that one commit fills by itself may be twice as long as that commit, up to here.
    static let largeSizeMax = 64 * 1_024
    private static let padding = 512
    private static let nodeOverhead = 52
    private static let goneSize = 38

    /// Takes in what a commit did. Returns what there is no more room for.
    mutating func apply(_ sealed: MST.Sealed, _ rev: TID) -> Spill {
        apply(
            new: sealed.new.compactMap { entry in entry.node.cid.map { ($0, entry.block) } },
            obsolete: sealed.obsolete, rev)
    }

    /// The same; `new` has children before parents.
    mutating func apply(new: [(cid: CID, block: [UInt8])], obsolete: [CID], _ rev: TID) -> Spill {
        // Most commits drop a handful, which is looked for one by one; a set costs more to make.
        if obsolete.count <= 32 {
            for cid in obsolete { drop(cid) }
        } else {
            let (dropped, here) = (Set(obsolete), Set(nodes.lazy.map(\.cid)))
            nodes.removeAll { dropped.contains($0.cid) }
            gone += obsolete.filter { !here.contains($0) }
        }
        var newSize = 0
        for (cid, block) in new {
            nodes.append(Node(cid: cid, rev: rev, block: Bytes(block)))
            newSize += block.count + Self.nodeOverhead
        }
        let limit = min(max(Self.sizeMax, 2 * newSize), Self.largeSizeMax)
        var size = size
        if size <= limit { return Spill() }
        var spill = Spill(gone: gone)
        size -= gone.count * Self.goneSize
        gone = []
        var count = 0
        while count < nodes.count, size > limit / 2 {
            size -= nodes[count].block.count + Self.nodeOverhead
            count += 1
        }
        spill.nodes = nodes[..<count]
        nodes.removeFirst(count)
        return spill
    }

    private mutating func drop(_ cid: CID) {
        // A node that was a row, went and came back is in `gone` since it first went.
        if let place = nodes.lastIndex(where: { $0.cid == cid }) { nodes.remove(at: place) } else { gone.append(cid) }
    }

    private var size: Int {
        nodes.reduce(gone.count * Self.goneSize) { $0 + $1.block.count + Self.nodeOverhead }
    }

    // MARK: The row

    func encoded() -> [UInt8] {
        var out = CBORWriter(capacity: size + 2 * Self.padding)
        out.array(3)
        out.integer(2)
        out.array(nodes.count * 3)
        for node in nodes {
            node.cid.withBinary { out.bytes($0) }
            out.integer(Int64(node.rev.value))
            out.bytes(node.block)
        }
        out.array(gone.count)
        for cid in gone { cid.withBinary { out.bytes($0) } }
        let rest = (Self.padding - out.out.count % Self.padding) % Self.padding
        out.out.append(contentsOf: repeatElement(0, count: rest))
        return out.out
    }

    /// Takes in a row. Blocks are slices of `bytes`.
    private mutating func read(_ bytes: Bytes, _ rev: Bytes) throws {
        do {
            try bytes.withUnsafeBytes { raw in
                var reader = CBORReader(raw)
                if try reader.length(.array) == 2 {
                    guard let rev = TID(rev) else { throw RepoError.corrupt("node pack") }
                    try readOlder(bytes, rev, &reader)
                } else {
                    let version = try reader.head()
                    guard version.major == .unsigned, version.argument == 2 else {
                        throw RepoError.corrupt("node pack")
                    }
                    for _ in 0..<(try reader.length(.array) / 3) {
                        let cid = try Self.cid(&reader)
                        let number = try reader.head()
                        guard number.major == .unsigned, let rev = TID(bits: number.argument) else {
                            throw RepoError.corrupt("node pack")
                        }
                        nodes.append(Node(cid: cid, rev: rev, block: try Self.block(bytes, &reader)))
                    }
                    for _ in 0..<(try reader.length(.array)) { gone.append(try Self.cid(&reader)) }
                }
            }
        } catch is CBORError {
            throw RepoError.corrupt("node pack")
        }
    }

    private mutating func readOlder(_ bytes: Bytes, _ rev: TID, _ reader: inout CBORReader) throws {
        replacesRows = true
        for _ in 0..<(try reader.length(.array) / 2) {
            let cid = try Self.cid(&reader)
            nodes.append(Node(cid: cid, rev: rev, block: try Self.block(bytes, &reader)))
        }
        for _ in 0..<(try reader.length(.array)) { drop(try Self.cid(&reader)) }
    }

    private static func cid(_ reader: inout CBORReader) throws -> CID {
        guard let cid = CID(try reader.string(.bytes)) else { throw RepoError.corrupt("node pack") }
        return cid
    }

    private static func block(_ bytes: Bytes, _ reader: inout CBORReader) throws -> Bytes {
        let count = try reader.string(.bytes).count
        return bytes.slice((reader.offset - count)..<reader.offset)
    }

    // MARK: The database

    /// The pack of a repository; an empty one when there is none.
    init(of repo: Int, _ reader: any Reader) throws {
        var pack = NodePack()
        try reader.each("SELECT rev, bytes FROM mst_pack WHERE repo = \(repo) ORDER BY rev") { row in
            try pack.read(try row.bytes(1), try row.text(0))
            return true
        }
        self = pack
    }

    /// Stores the pack, `encoded`, in place of the one that was there, and what it has no room for.
    func store(_ encoded: [UInt8], _ spill: Spill, repo: Int, in writer: any Writer) throws {
        if replacesRows { try writer.run("DELETE FROM mst_pack WHERE repo = \(repo)") }
        try writer.run(
            """
            INSERT INTO mst_pack (repo, rev, bytes) VALUES (\(repo), '', \(encoded))
            ON CONFLICT (repo, rev) DO UPDATE SET bytes = excluded.bytes
            """)
        for cid in spill.gone {
            try writer.run("DELETE FROM mst_node WHERE repo = \(repo) AND cid = \(cid.sql)")
        }
        for node in spill.nodes {
            try writer.run(
                """
                INSERT INTO mst_node (repo, cid, rev, bytes)
                VALUES (\(repo), \(node.cid.sql), \(node.rev.sql), \(node.block))
                ON CONFLICT (repo, cid) DO UPDATE SET rev = excluded.rev
                """)
        }
    }

    /// The same pack once it is stored.
    var stored: NodePack {
        var pack = self
        pack.replacesRows = false
        return pack
    }
}
