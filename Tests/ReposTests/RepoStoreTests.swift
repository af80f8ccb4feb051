import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

@Suite struct RepoStoreTests {
    @Test(arguments: Engine.all) func newRepository(_ engine: Engine) throws {
        let home = try Home(engine)
        let info = try home.create(Home.alice)
        let state = try home.repos.state(of: Home.alice)
        #expect(state.info == info && state.status == .active && state.data == MSTNode.empty.cid)
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
        #expect(throws: RepoError.repoExists(Home.alice)) { try home.create(Home.alice) }
        #expect(throws: RepoError.repoNotFound(Home.bob)) { try home.repos.state(of: Home.bob) }
        let frame = try Frame(try #require(try home.events.events(after: 0, limit: 10, sizeMax: 1_000).first))
        #expect(frame.header == .map([.init(key: "t", value: .text("#commit")), .init(key: "op", value: .integer(1))]))
        #expect(frame.payload["since"] == .null && frame.payload["prevData"] == nil)
        #expect(frame.payload["seq"] == .integer(1) && frame.payload["ops"] == .array([]))
        let car = try blocks(try #require(frame.bytes("blocks")))
        #expect(car.root == info.cid && car.order == [info.cid, state.data])
    }

    /// Random batches by two processes in turn, across several folds: after each the repository is whole, and the
    /// events tell its story so that each can be taken back with what is in it alone.
    @Test(arguments: Engine.all, [64 << 20, 1]) func history(_ engine: Engine, cacheSize: Int) throws {
        let home = try Home(engine, cacheSize: cacheSize)
        let other = home.otherProcess()
        try home.create(Home.alice)
        var numbers = Numbers(state: 11)
        var model: [String: String] = [:]
        var commits = 1
        for round in 0..<210 {
            var writes: [RecordWrite] = []
            for _ in 0..<Int.random(in: 1...(round % 40 == 0 ? 60 : 3), using: &numbers) {
                let name = "com.example.thing/k\(Int.random(in: 0..<300, using: &numbers))"
                if Int.random(in: 0..<4, using: &numbers) == 0 {
                    model[name] = nil
                    writes.append(RecordWrite(path(name), .deleteIfPresent))
                } else {
                    let text = "text \(Int.random(in: 0..<50, using: &numbers))"
                    model[name] = text
                    writes.append(try put(name, text))
                }
            }
            let store = Bool.random(using: &numbers) ? home.repos : other
            if try store.apply(writes, to: Home.alice).commit != nil { commits += 1 }
            if round % 15 == 0 || round > 200 {
                let report = try home.repos.verify(Home.alice, key: home.key.publicKey)
                #expect(report.problems == [] && report.records == model.count, "round \(round)")
            }
        }
        for (name, text) in model {
            let value = try home.records.get(path(name), of: Home.alice) { _, raw in try DAGCBOR.decode(Bytes(raw)) }
            #expect(value?["text"] == .text(Bytes(text)))
        }
        let packs = try home.database.read { try $0.first("SELECT count(*) FROM mst_pack") { try $0.integer(0) } }
        #expect(packs == 1)
        #expect(commits > 150)
        try Self.checkEvents(home, count: commits)
    }

    static func checkEvents(_ home: Home, count: Int) throws {
        let events = try home.events.events(after: 0, limit: 10_000, sizeMax: 1 << 30)
        #expect(events.map(\.seq) == Array(1...count))
        #expect(home.rings.withLock { $0 } == count)
        var last: (rev: Value, data: CID)?
        for event in events {
            let frame = try Frame(event)
            let car = try blocks(try #require(frame.bytes("blocks")))
            #expect(frame.payload["commit"] == .link(car.root))
            #expect(car.order.count == car.blocks.count && car.order.first == car.root)
            let commit = try Commit.decode(try #require(car.blocks[car.root]))
            #expect(commit.isSigned(by: home.key.publicKey))
            #expect(frame.payload["rev"] == .text(commit.rev.bytes))
            if let last {
                #expect(frame.payload["since"] == last.rev && frame.payload["prevData"] == .link(last.data))
                #expect(frame.payload["rev"]?.text ?? "" > last.rev.text ?? "~")
                var tree = try MST(root: commit.data) { cid in
                    guard let block = car.blocks[cid] else { throw MSTError(.missingBlock, in: cid) }
                    return try MSTNode.decode(block, cid: cid)
                }
                for operation in frame.operations {
                    if let value = operation.value { #expect(car.blocks[value] != nil) }
                }
                try tree.invert(frame.operations)
                #expect(tree.seal().root == last.data, "seq \(event.seq)")
            }
            last = (.text(commit.rev.bytes), commit.data)
        }
        #expect(try home.repos.state(of: Home.alice).data == last?.data)
    }

    @Test(arguments: Engine.all) func whatIsRefusedChangesNothing(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let name = path("com.example.thing/one")
        let one = try block(name, post("one"))
        let two = try block(name, post("two"))
        try home.repos.apply([RecordWrite(name, .create(one))], to: Home.alice)
        let state = try home.repos.state(of: Home.alice)
        let absent = path("com.example.thing/absent")
        let before = try put("com.example.thing/before", "x")
        let rows: [(String, [RecordWrite], CID?, RepoError)] = [
            ("create what exists", [RecordWrite(name, .create(two))], nil, .recordExists(name.bytes)),
            ("update what does not", [RecordWrite(absent, .update(two))], nil, .recordNotFound(absent.bytes)),
            ("delete what does not", [before, RecordWrite(absent, .delete)], nil, .recordNotFound(absent.bytes)),
            (
                "delete twice", [RecordWrite(name, .delete), RecordWrite(name, .delete)], nil,
                .recordNotFound(name.bytes)
            ),
            ("another commit", [RecordWrite(name, .put(two))], one.cid, .commitSwap(current: state.commit)),
            (
                "another record", [RecordWrite(name, .put(two), expecting: .record(two.cid))], nil,
                .recordSwap(current: one.cid)
            ),
            ("no record", [RecordWrite(name, .put(two), expecting: .nothing)], nil, .recordSwap(current: one.cid)),
            (
                "some record", [before, RecordWrite(absent, .put(two), expecting: .record(one.cid))], nil,
                .recordSwap(current: nil)
            ),
            (
                "201 writes", (0...200).map { RecordWrite(path("com.example.thing/\($0)"), .deleteIfPresent) }, nil,
                .tooManyWrites(max: 200)
            ),
        ]
        for (label, writes, commit, error) in rows {
            #expect(throws: error, "\(label)") { try home.repos.apply(writes, to: Home.alice, expecting: commit) }
        }
        #expect(throws: RepoError.repoNotFound(Home.bob)) { try home.repos.apply([before], to: Home.bob) }
        // One event can't hold three records of 900 kB.
        let large = try (0..<3).map {
            try put("com.example.thing/l\($0)", "\($0)" + String(repeating: "x", count: 900_000))
        }
        #expect(throws: RepoError.commitTooLarge(max: 2_000_000)) { try home.repos.apply(large, to: Home.alice) }
        try home.database.write { try home.repos.setStatus(.deactivated, of: Home.alice, in: $0) }
        #expect(throws: RepoError.notActive(Home.alice, .deactivated)) {
            try home.repos.apply([before], to: Home.alice)
        }
        #expect(try home.repos.state(of: Home.alice).info == state.info)
        #expect(try home.events.newest() == 2 && home.records.count(of: Home.alice) == 1)
        #expect(try home.repos.verify(Home.alice).problems == [])
    }

    @Test(arguments: Engine.all) func whatChangesNothingMakesNoCommit(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let name = path("com.example.thing/self")
        let one = try block(name, post("one"))
        #expect(try home.repos.apply([RecordWrite(name, .put(one))], to: Home.alice).commit != nil)
        let state = try home.repos.state(of: Home.alice)
        let again = try home.repos.apply([RecordWrite(name, .put(one))], to: Home.alice)
        #expect(again.commit == nil && again.records == [one.cid])
        let gone = try home.repos.apply(
            [RecordWrite(path("com.example.thing/x"), .deleteIfPresent)], to: Home.alice)
        #expect(gone.commit == nil && gone.records == [nil])
        let undone = try home.repos.apply(
            [try put("com.example.thing/x", "y"), RecordWrite(path("com.example.thing/x"), .delete)], to: Home.alice)
        #expect(undone.commit == nil)
        #expect(try home.repos.state(of: Home.alice).info == state.info && home.events.newest() == 2)
        #expect(
            try home.repos.apply([RecordWrite(name, .put(one))], to: Home.alice, expecting: state.commit).commit == nil)
    }

    @Test(arguments: Engine.all) func oneLikeForEachSubject(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        func like(_ rkey: String, _ uri: Bytes) throws -> RecordWrite {
            let name = path("app.bsky.feed.like/\(rkey)")
            let subject = Value.map([.init(key: "uri", value: .text(uri))])
            return RecordWrite(name, .create(try block(name, .map([.init(key: "subject", value: subject)]))))
        }
        func keys() throws -> [String] {
            let collection = try #require(NSID("app.bsky.feed.like"))
            var keys: [String] = []
            try home.records.list(collection, of: Home.alice, limit: 100, ascending: true) { key, _, _ in
                keys.append(String(decoding: key, as: UTF8.self))
            }
            return keys
        }
        try home.repos.apply([like("a", "at://x")], to: Home.alice)
        try home.repos.apply([like("b", "at://y")], to: Home.alice)
        try home.repos.apply([like("c", "at://x")], to: Home.alice)
        #expect(try keys() == ["b", "c"])
        let frame = try Frame(try #require(try home.events.events(after: 3, limit: 1, sizeMax: 1).first))
        #expect(
            frame.operations.map { "\($0.key) \($0.value == nil)" } == [
                "app.bsky.feed.like/a true", "app.bsky.feed.like/c false",
            ])
        // Deleted, then liked again; and twice in one batch.
        try home.repos.apply([RecordWrite(path("app.bsky.feed.like/c"), .delete)], to: Home.alice)
        try home.repos.apply([like("d", "at://x"), like("e", "at://x"), like("f", "at://z")], to: Home.alice)
        #expect(try keys() == ["b", "e", "f"])
        let backlinks = try home.database.read { try $0.first("SELECT count(*) FROM backlink") { try $0.integer(0) } }
        #expect(backlinks == 3)
        #expect(try home.repos.verify(Home.alice).problems == [])
    }

    @Test(arguments: Engine.all) func recommitAndRemove(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.repos.apply([put("com.example.thing/a", "x")], to: Home.alice)
        let before = try home.repos.state(of: Home.alice)
        let fresh = try SigningKey.generate(.p256, entropy: .system)
        let info = try home.database.write { try home.repos.recommit(Home.alice, key: fresh, in: $0) }
        #expect(info.rev > before.rev)
        #expect(try home.repos.state(of: Home.alice).data == before.data)
        #expect(try home.repos.verify(Home.alice, key: fresh.publicKey).problems == [])
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [.signature])
        try home.database.write { try home.repos.markDeleted(Home.alice, in: $0) }
        #expect(throws: RepoError.repoNotFound(Home.alice)) { try home.repos.state(of: Home.alice) }
        #expect(throws: RepoError.repoNotFound(Home.alice)) { try home.export(Home.alice) }
        #expect(try home.repos.list(after: 0, limit: 10).isEmpty)
        #expect(throws: RepoError.repoExists(Home.alice)) { try home.create(Home.alice) }
        #expect(try home.repos.deleted(limit: 10) == [Home.alice])
        #expect(try !home.repos.removeRows(of: Home.alice))
        try home.repos.finishRemoval(of: Home.alice)
        #expect(try home.repos.deleted(limit: 10).isEmpty)
        for table in ["repo", "record", "mst_node", "mst_pack", "backlink", "blob_reference"] {
            let count = try home.database.read {
                try $0.first(SQL(stringLiteral: "SELECT count(*) FROM \(table)")) { try $0.integer(0) }
            }
            #expect(count == 0, "\(table)")
        }
        try home.create(Home.alice)
        #expect(try home.repos.verify(Home.alice).problems == [])
    }

    /// The check finds what is broken on purpose.
    @Test(arguments: Engine.all) func verifyFindsDamage(_ engine: Engine) throws {
        let rows: [(String, SQL, (RepoReport.Problem) -> Bool)] = [
            (
                "a record's bytes",
                "UPDATE record SET value = \([UInt8]([0xA0])) WHERE key = \(Bytes("com.example.thing/7"))",
                { $0 == .recordBytes("com.example.thing/7") }
            ),
            (
                "a record gone", "DELETE FROM record WHERE key = \(Bytes("com.example.thing/7"))",
                { if case .root = $0 { true } else { false } }
            ),
            ("the packs gone", "DELETE FROM mst_pack", { if case .node = $0 { true } else { false } }),
            ("the commit's bytes", "UPDATE repo SET commit_block = \([UInt8]([0xA0]))", { $0 == .commitBlock }),
            ("another revision", "UPDATE repo SET rev = '3jzfcijpj2z2a'", { $0 == .commitFields }),
            (
                "a node too many",
                "INSERT INTO mst_node (repo, cid, rev, bytes) SELECT id, commit_cid, rev, commit_block FROM repo",
                { $0 == .unreferencedNodes(1) }
            ),
        ]
        for (name, damage, isFound) in rows {
            let home = try Home(engine)
            try home.create(Home.alice)
            try home.repos.apply((0..<20).map { try put("com.example.thing/\($0)", "x\($0)") }, to: Home.alice)
            #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
            _ = try home.database.write { try $0.run(damage) }
            let problems = try home.repos.verify(Home.alice, key: home.key.publicKey).problems
            #expect(problems.contains(where: isFound), "\(name): \(problems)")
        }
    }
}

@Suite struct RecordBlockTests {
    @Test func values() throws {
        let name = path("com.example.thing/a")
        let made = try block(name, post("x"))
        #expect(try DAGCBOR.decode(made.bytes)["$type"] == .text("com.example.thing"))
        #expect(DAGCBOR.encode(try DAGCBOR.decode(made.bytes)) == made.bytes.array)
        #expect(made.cid == CID(hashing: made.bytes))
        let blob = Value.map([
            .init(key: "size", value: .integer(1)), .init(key: "$type", value: .text("blob")),
            .init(key: "mimeType", value: .text("image/png")),
        ])
        let large = Bytes([UInt8](repeating: 0x78, count: 1_000_001))
        let rows: [(String, Value, (RecordFault) -> Bool)] = [
            ("no object", .array([]), { $0 == .notAnObject }),
            (
                "another type", .map([.init(key: "$type", value: .text("com.example.other"))]),
                { $0 == .wrongType(expected: "com.example.thing") }
            ),
            (
                "a type that is no text", .map([.init(key: "$type", value: .integer(1))]),
                { $0 == .wrongType(expected: "com.example.thing") }
            ),
            (
                "a blob without a link", .map([.init(key: "b", value: blob)]),
                { if case .blob = $0 { true } else { false } }
            ),
            ("too large", .map([.init(key: "t", value: .text(large))]), { $0 == .tooLarge(max: 1_000_000) }),
        ]
        for (label, value, isRight) in rows {
            do throws(RepoError) {
                _ = try RecordBlock(name, value)
                Issue.record("\(label): taken")
            } catch {
                guard case .invalidRecord(let fault) = error else {
                    Issue.record("\(label): \(error)")
                    continue
                }
                #expect(isRight(fault), "\(label): \(fault)")
            }
        }
    }
}
