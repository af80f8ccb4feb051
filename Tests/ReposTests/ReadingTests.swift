import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

@Suite struct RecordReadingTests {
    @Test(arguments: Engine.all) func pages(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let names = (0..<25).map { "com.example.thing/k\($0 + 10)" }
        try home.repos.apply(names.map { try put($0, $0) }, to: Home.alice)
        // Neighbours in key order must not be taken in.
        try home.repos.apply(
            [put("com.example.thing.more/x", "1"), put("com.example.thin/x", "2"), put("com.example.things/x", "3")],
            to: Home.alice)
        let collection = try #require(NSID("com.example.thing"))
        for ascending in [false, true] {
            var seen: [String] = []
            var cursor: Bytes?
            while true {
                var page: [String] = []
                try home.records.list(collection, of: Home.alice, limit: 7, cursor: cursor, ascending: ascending) {
                    key, cid, value in
                    #expect(CID(hashing: value) == cid)
                    page.append(String(decoding: key, as: UTF8.self))
                }
                seen += page
                guard let last = page.last else { break }
                #expect(page.count <= 7)
                cursor = Bytes(last)
            }
            let wanted = names.map { String($0.dropFirst("com.example.thing/".count)) }
            #expect(seen == (ascending ? wanted : wanted.reversed()))
        }
        #expect(
            try home.records.collections(of: Home.alice).map(\.description)
                == [
                    "com.example.thin", "com.example.thing.more", "com.example.thing", "com.example.things",
                ].sorted { Bytes($0 + "/") < Bytes($1 + "/") })
        #expect(try home.records.get(path("com.example.thing/none"), of: Home.alice) { _, _ in true } == nil)
        #expect(throws: RepoError.repoNotFound(Home.bob)) {
            try home.records.list(collection, of: Home.bob, limit: 1) { _, _, _ in }
        }
        #expect(throws: RepoError.repoNotFound(Home.bob)) { try home.records.collections(of: Home.bob) }
    }

    @Test(arguments: Engine.all) func listOfRepositories(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        let first = try home.repos.list(after: 0, limit: 1)
        #expect(first.map(\.state.did) == [Home.alice])
        let second = try home.repos.list(after: try #require(first.first).cursor, limit: 5)
        #expect(second.map(\.state.did) == [Home.bob])
        #expect(try home.repos.list(after: try #require(second.first).cursor, limit: 5).isEmpty)
    }
}

@Suite struct ExportTests {
    @Test(arguments: Engine.all) func wholeInStreamOrder(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        for batch in 0..<12 {
            try home.repos.apply(
                (0..<50).map { try put("com.example.thing/\(batch)x\($0 * 37)", "v\($0)") }, to: Home.alice)
        }
        let bytes = try home.export(Home.alice)
        let car = try blocks(Bytes(bytes))
        let state = try home.repos.state(of: Home.alice)
        #expect(car.root == state.commit)
        // What a consumer gets if it keeps nothing: each block is one that was announced by a block before it.
        var announced: Set<CID> = [state.commit]
        var expected: [CID] = []
        let tree = try MST(root: state.data) { cid in
            guard let block = car.blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
            return try MSTNode.decode(block, cid: cid)
        }
        try tree.preorder { item in
            switch item {
            case .node(let node): if let cid = node.cid { expected.append(cid) }
            case .record(_, let cid): expected.append(cid)
            }
            return .into
        }
        #expect(car.order == [state.commit] + expected)
        announced.formUnion(expected)
        #expect(Set(car.blocks.keys) == announced)
        #expect(try home.export(Home.alice) == bytes)
        // The same after the tree has been read by another process and folded.
        #expect(try home.otherProcess().state(of: Home.alice).commit == state.commit)
        #expect(throws: RepoError.repoNotFound(Home.bob)) { try home.export(Home.bob) }
        struct Gone: Error {}
        #expect(throws: Gone.self) { try home.repos.export(Home.alice) { _ in throw Gone() } }
    }

    /// What is missing from an older export is exactly what `since` gives.
    @Test(arguments: Engine.all) func since(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        var numbers = Numbers(state: 3)
        var exports: [(rev: TID, blocks: Set<CID>)] = []
        for round in 0..<90 {
            let writes = try (0..<3).map { _ in
                let name = "com.example.thing/k\(Int.random(in: 0..<120, using: &numbers))"
                return Int.random(in: 0..<4, using: &numbers) == 0
                    ? RecordWrite(path(name), .deleteIfPresent) : try put(name, "\(round) \(name)")
            }
            try home.repos.apply(writes, to: Home.alice)
            if round % 10 == 0 {
                let car = try blocks(Bytes(try home.export(Home.alice)))
                exports.append((try home.repos.state(of: Home.alice).rev, Set(car.order)))
            }
        }
        let whole = Set(try blocks(Bytes(try home.export(Home.alice))).order)
        for export in exports {
            let car = try blocks(Bytes(try home.export(Home.alice, since: export.rev)))
            #expect(Set(car.order).union(export.blocks).isSuperset(of: whole))
            #expect(Set(car.order).isSubset(of: whole))
            #expect(car.order.count < whole.count)
        }
        let state = try home.repos.state(of: Home.alice)
        #expect(try blocks(Bytes(try home.export(Home.alice, since: state.rev))).order == [])
    }

    @Test(arguments: Engine.all) func proofsAndBlocks(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        try home.repos.apply((0..<150).map { try put("com.example.thing/\($0)", "v\($0)") }, to: Home.alice)
        try home.repos.apply([put("com.example.thing/bob", "b")], to: Home.bob)
        for (name, isThere) in [("com.example.thing/77", true), ("com.example.thing/none", false)] {
            let car = try blocks(Bytes(try home.repos.exportRecord(path(name), of: Home.alice)))
            let commit = try Commit.decode(try #require(car.blocks[car.root]))
            let tree = try MST(root: commit.data) { cid in
                guard let block = car.blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
                return try MSTNode.decode(block, cid: cid)
            }
            let cid = try tree.get(Bytes(name))
            #expect((cid != nil) == isThere)
            if let cid { #expect(car.blocks[cid] != nil) }
            #expect(car.blocks.count < 12)
        }
        let state = try home.repos.state(of: Home.alice)
        let record = try #require(try home.records.get(path("com.example.thing/5"), of: Home.alice) { cid, _ in cid })
        let foreign = try home.repos.state(of: Home.bob)
        let found = try home.repos.blocks(
            [state.commit, state.data, record, foreign.commit, foreign.data], of: Home.alice)
        #expect(Set(found.keys) == [state.commit, state.data, record])
        for (cid, block) in found { #expect(CID(hashing: block) == cid) }
    }
}

@Suite struct EventStoreTests {
    @Test(arguments: Engine.all) func kindsAndLimits(_ engine: Engine) throws {
        let home = try Home(engine)
        let handle = try #require(Handle("alice.test.example"))
        #expect(try home.events.newest() == 0 && home.events.oldest() == nil)
        try home.database.write { writer in
            try home.events.appendIdentity(Home.alice, handle: handle, in: writer)
            try home.events.appendAccount(Home.alice, .active, in: writer)
            try home.repos.create(Home.alice, key: home.key, in: writer)
            try home.events.appendAccount(Home.alice, .takendown, in: writer)
            let state = try RepoState.find(Home.alice, writer)
            try home.events.appendSync(Home.alice, commit: state.info, block: "block", in: writer)
        }
        let events = try home.events.events(after: 0, limit: 10, sizeMax: 1 << 20)
        let frames = try events.map { try Frame($0) }
        #expect(frames.map { $0.header["t"]?.text } == ["#identity", "#account", "#commit", "#account", "#sync"])
        #expect(frames.map { $0.payload["seq"] } == (1...5).map { .integer($0) })
        #expect(frames[0].payload["handle"] == .text("alice.test.example"))
        #expect(frames[1].payload["active"] == .bool(true) && frames[1].payload["status"] == nil)
        #expect(frames[3].payload["active"] == .bool(false) && frames[3].payload["status"] == .text("takendown"))
        #expect(frames[0].payload["time"] == .text("2027-01-15T08:00:00.000Z"))
        // Canonical: decoding and encoding gives the same bytes.
        for (event, frame) in zip(events, frames) {
            #expect(DAGCBOR.encode(frame.header) + DAGCBOR.encode(frame.payload) == event.frame.array)
        }
        #expect(try home.events.events(after: 2, limit: 2, sizeMax: 1 << 20).map(\.seq) == [3, 4])
        #expect(try home.events.events(after: 0, limit: 9, sizeMax: 1).map(\.seq) == [1])
        #expect(try home.events.events(after: 5, limit: 9, sizeMax: 1).isEmpty)
        #expect(try home.events.oldest() == 1 && home.events.newest() == 5)

        #expect(try home.events.trim(before: Timestamp(seconds: 1_800_000_000)) == 0)
        #expect(try home.events.trim(before: Timestamp(seconds: 1_800_000_001)) == 5)
        // Numbers are never given out again.
        try home.database.write { try home.events.appendAccount(Home.alice, .active, in: $0) }
        #expect(try home.events.oldest() == 6 && home.events.newest() == 6)
        try home.events.removeAll(of: Home.alice)
        #expect(try home.events.oldest() == 6 && home.events.newest() == 6)
    }

    @Test(arguments: Engine.all) func rolledBackIsNotTold(_ engine: Engine) throws {
        let home = try Home(engine)
        struct Undo: Error {}
        #expect(throws: Undo.self) {
            try home.database.write { writer in
                try home.repos.create(Home.alice, key: home.key, in: writer)
                throw Undo()
            }
        }
        #expect(try home.events.oldest() == nil)
        #expect(home.rings.withLock { $0 } == 0)
        try home.create(Home.alice)
        #expect(home.rings.withLock { $0 } == 1)
        #expect(try home.repos.verify(Home.alice).problems == [])
    }
}
