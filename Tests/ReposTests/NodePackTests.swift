import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// The row that holds what changed last of a tree.
@Suite struct NodePackTests {
    private func node(_ number: Int, size: Int) -> (cid: CID, block: [UInt8]) {
        let block = [UInt8](repeating: UInt8(number & 255), count: size - 1) + [UInt8(number >> 8)]
        return (CID(hashing: block), block)
    }

    private func rev(_ number: Int) -> TID { TID(timestamp: Timestamp(seconds: 1_000 + Int64(number)), clockID: 0) }

    @Test(arguments: Engine.all) func whatIsStoredComesBack(_ engine: Engine) throws {
        let database = try engine.migrated()
        var pack = NodePack()
        var live: [CID: TID] = [:]
        var rows: Set<CID> = []
        var numbers = Numbers(state: 7)
        for number in 0..<200 {
            // Some nodes go, some of those that went come back.
            let new = (0..<Int.random(in: 1...5, using: &numbers)).map { _ in
                node(Int.random(in: 0..<80, using: &numbers), size: 300)
            }.reduce(into: [(cid: CID, block: [UInt8])]()) { list, entry in
                if live[entry.cid] == nil, !list.contains(where: { $0.cid == entry.cid }) { list.append(entry) }
            }
            let obsolete = live.keys.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
                .filter { _ in Int.random(in: 0..<4, using: &numbers) == 0 }
            for cid in obsolete { live[cid] = nil }
            for (cid, _) in new { live[cid] = rev(number) }
            let spill = pack.apply(new: new, obsolete: obsolete, rev(number))
            rows.subtract(spill.gone)
            rows.formUnion(spill.nodes.map(\.cid))
            let encoded = pack.encoded()
            #expect(encoded.count % 512 == 0 && encoded.count <= 3_584)
            try database.write { try pack.store(encoded, spill, repo: 1, in: $0) }
            pack = pack.stored
        }
        #expect(!rows.isEmpty)
        let found = try database.read { reader in
            let nodes = RepoNodes(repo: 1, reader: reader, cache: nil)
            let stored = try nodes.pack()
            #expect(stored.nodes.map(\.cid) == pack.nodes.map(\.cid) && stored.gone == pack.gone)
            for (cid, rev) in live {
                let node = try #require(try nodes.stored(cid))
                #expect(node.rev == rev.bytes && CID(hashing: node.block) == cid)
            }
            return Set(try reader.all("SELECT cid FROM mst_node WHERE repo = 1") { try $0.cid(0) })
        }
        #expect(found == rows)
        #expect(found.subtracting(pack.gone).union(pack.nodes.map(\.cid)) == Set(live.keys))
    }

    /// One commit that is longer than a page by itself is kept whole, and rows go out from the oldest.
    @Test func aLongCommitStays() {
        var pack = NodePack()
        let first = (0..<20).map { node($0, size: 400) }
        #expect(pack.apply(new: first, obsolete: [], rev(1)).nodes.isEmpty)
        let second = (20..<35).map { node($0, size: 400) }
        let spill = pack.apply(new: second, obsolete: [], rev(2))
        #expect(spill.nodes.map(\.cid) == first.map(\.cid), "those of the commit before")
        #expect(pack.nodes.map(\.cid) == second.map(\.cid))
        let huge = (100..<400).map { node($0, size: 400) }
        let rest = pack.apply(new: huge, obsolete: second.map(\.cid), rev(3))
        #expect(rest.gone.isEmpty, "what never was a row is not removed from the rows")
        #expect(pack.encoded().count <= NodePack.largeSizeMax)
    }

    /// Rows of the form with one for each commit.
    @Test(arguments: Engine.all) func olderRowsAreReadAndReplaced(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        for number in 0..<30 {
            try home.repos.apply([try put("com.example.thing/\(number)", "x\(number)")], to: Home.alice)
        }
        let (repo, pack) = try home.database.read { reader in
            let repo = try RepoState.find(Home.alice, reader).id
            return (repo, try NodePack(of: repo, reader))
        }
        let revs = Set(pack.nodes.map(\.rev)).sorted()
        #expect(revs.count > 1)
        try home.database.write { writer in
            try writer.run("DELETE FROM mst_pack")
            for rev in revs {
                var out = CBORWriter()
                out.array(2)
                let nodes = pack.nodes.filter { $0.rev == rev }
                out.array(nodes.count * 2)
                for node in nodes {
                    out.bytes(Bytes(node.cid.bytes))
                    out.bytes(node.block)
                }
                let gone = rev == revs.last ? pack.gone : []
                out.array(gone.count)
                for cid in gone { out.bytes(Bytes(cid.bytes)) }
                try writer.run("INSERT INTO mst_pack (repo, rev, bytes) VALUES (\(repo), \(rev.sql), \(out.out))")
            }
        }
        let other = home.otherProcess()
        #expect(try other.verify(Home.alice, key: home.key.publicKey).problems == [])
        for number in 0..<30 {
            try other.apply([try put("com.example.thing/\(number)", "y\(number)")], to: Home.alice)
            #expect(try other.verify(Home.alice, key: home.key.publicKey).problems == [])
        }
        #expect(try home.database.first("SELECT count(*) FROM mst_pack") { try $0.integer(0) } == 1)
        try RepoStoreTests.checkEvents(home, count: 61)
    }

    @Test(arguments: Engine.all) func aBrokenPackIsAnError(_ engine: Engine) throws {
        let rows: [(name: String, bytes: [UInt8])] = [
            ("empty", []), ("cut", [0x83, 0x02]), ("another version", [0x83, 0x03, 0x80, 0x80]),
            ("no CID", [0x83, 0x02, 0x83, 0x41, 0x01, 0x01, 0x40, 0x80]), ("text", [0x61, 0x61]),
            ("an array that is not there", [0x83, 0x02, 0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ]
        for (name, bytes) in rows {
            let home = try Home(engine)
            try home.create(Home.alice)
            _ = try home.database.write { try $0.run("UPDATE mst_pack SET bytes = \(bytes)") }
            let store = home.otherProcess()
            #expect(throws: RepoError.corrupt("node pack"), "\(name)") {
                try store.apply([try put("com.example.thing/one", "x")], to: Home.alice)
            }
        }
    }
}
