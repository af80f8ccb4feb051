internal import ATProto
internal import Base

/// What one commit did to a repository's nodes: the new ones and the CIDs of those it made obsolete, as one row.
///
/// As CBOR: `[[cid, block, cid, block, …], [cid, …]]`, all byte strings.
struct NodePack {
    var new: [(cid: CID, block: Bytes)]
    var obsolete: [CID]

    init(new: [(cid: CID, block: Bytes)], obsolete: [CID]) {
        self.new = new
        self.obsolete = obsolete
    }

    init(_ sealed: MST.Sealed) {
        new = sealed.new.compactMap { entry in entry.node.cid.map { ($0, Bytes(entry.block)) } }
        obsolete = sealed.obsolete
    }

    /// The bytes of the new blocks together.
    var size: Int { new.reduce(0) { $0 + $1.block.count } }

    func encoded() -> [UInt8] {
        var out = CBORWriter(capacity: size + new.count * 48 + obsolete.count * 40 + 16)
        out.array(2)
        out.array(new.count * 2)
        for (cid, block) in new {
            out.bytes(Bytes(cid.bytes))
            out.bytes(block)
        }
        out.array(obsolete.count)
        for cid in obsolete { out.bytes(Bytes(cid.bytes)) }
        return out.out
    }

    /// Blocks are slices of `bytes`.
    init(decoding bytes: Bytes) throws {
        do {
            (new, obsolete) = try bytes.withUnsafeBytes { raw in
                var reader = CBORReader(raw)
                guard try reader.length(.array) == 2 else { throw RepoError.corrupt("node pack") }
                var new: [(cid: CID, block: Bytes)] = []
                for _ in 0..<(try reader.length(.array) / 2) {
                    let cid = try Self.cid(&reader)
                    let count = try reader.string(.bytes).count
                    new.append((cid, bytes.slice((reader.offset - count)..<reader.offset)))
                }
                var obsolete: [CID] = []
                for _ in 0..<(try reader.length(.array)) { obsolete.append(try Self.cid(&reader)) }
                try reader.end()
                return (new, obsolete)
            }
        } catch is CBORError {
            throw RepoError.corrupt("node pack")
        }
    }

    private static func cid(_ reader: inout CBORReader) throws -> CID {
        guard let cid = CID(try reader.string(.bytes)) else { throw RepoError.corrupt("node pack") }
        return cid
    }
}
