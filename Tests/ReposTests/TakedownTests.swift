import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

/// Records and blobs that are taken down, repositories by collection, and removal in steps.
@Suite struct TakedownTests {
    private static let moment = Timestamp(seconds: 1_800_000_000)

    private func set(_ isTakenDown: Bool, _ name: String, _ home: Home, cid: CID? = nil) throws {
        try home.database.write { writer in
            try TakedownStore.set(
                isTakenDown ? Self.moment : nil, on: path(name), of: Home.alice, cid: cid, reference: "case 7",
                in: writer)
        }
    }

    private func get(_ name: String, _ home: Home) throws -> CID? {
        try home.records.get(path(name), of: Home.alice) { cid, _ in cid }
    }

    private func keys(_ home: Home, ascending: Bool, cursor: Bytes? = nil, limit: Int = 100) throws -> [String] {
        var keys: [String] = []
        try home.records.list(
            NSID("com.example.thing")!, of: Home.alice, limit: limit, cursor: cursor, ascending: ascending
        ) { rkey, _, _ in keys.append(String(decoding: rkey, as: UTF8.self)) }
        return keys
    }

    @Test(arguments: Engine.all) func aRecordIsHiddenAndTheRepositoryIsWhole(_ engine: Engine) throws {
        let home = try Home(engine)
        let store = TakedownStore(database: home.database)
        try home.create(Home.alice)
        try home.create(Home.bob)
        for key in ["a", "b", "c"] { try home.repos.apply([put("com.example.thing/\(key)", key)], to: Home.alice) }
        try home.repos.apply([put("com.example.thing/b", "b")], to: Home.bob)
        let whole = try home.export(Home.alice)
        let cid = try #require(try get("com.example.thing/b", home))

        try set(true, "com.example.thing/b", home, cid: cid)
        #expect(try get("com.example.thing/b", home) == nil)
        #expect(try keys(home, ascending: true) == ["a", "c"])
        #expect(try keys(home, ascending: false) == ["c", "a"])
        #expect(try keys(home, ascending: true, cursor: "a", limit: 1) == ["c"])
        #expect(try home.records.get(path("com.example.thing/b"), of: Home.bob) { _, _ in true } == true)
        #expect(try home.export(Home.alice) == whole)
        #expect(try home.repos.verify(Home.alice, key: home.key.publicKey).problems == [])
        let takedown = try #require(try store.find(path("com.example.thing/b"), of: Home.alice))
        #expect(takedown == ContentTakedown(cid: cid, reference: "case 7", at: Self.moment))
        #expect(try store.current(path("com.example.thing/b"), of: Home.alice) == cid)
        #expect(try store.find(path("com.example.thing/a"), of: Home.alice) == nil)
        #expect(throws: RepoError.repoNotFound(did("did:web:nobody.example.com"))) {
            try store.find(path("com.example.thing/a"), of: did("did:web:nobody.example.com"))
        }

        // A change does not bring it back; lifting does.
        try home.repos.apply([put("com.example.thing/b", "other")], to: Home.alice)
        #expect(try get("com.example.thing/b", home) == nil)
        try set(true, "com.example.thing/b", home)
        try set(false, "com.example.thing/b", home)
        #expect(try get("com.example.thing/b", home) != nil)
        #expect(try keys(home, ascending: true) == ["a", "b", "c"])
    }

    @Test(arguments: Engine.all) func aBlobIsNeitherServedNorTakenAgain(_ engine: Engine) throws {
        let home = try Home(engine)
        let store = TakedownStore(database: home.database)
        for did in [Home.alice, Home.bob] {
            try home.create(did)
            let blob = try home.upload(BlobTests.png, of: did)
            try home.repos.apply([BlobTests.write("com.example.thing/a", blob)], to: did)
        }
        let blob = try home.upload(BlobTests.png, of: Home.alice)
        func set(_ isTakenDown: Bool) throws {
            try home.database.write { writer in
                try TakedownStore.set(
                    isTakenDown ? Self.moment : nil, on: blob.cid, of: Home.alice, reference: nil, in: writer)
            }
        }
        try set(true)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == nil)
        #expect(try home.blobs.list(of: Home.alice, limit: 10) == [])
        #expect(try home.blobs.find(blob.cid, of: Home.bob) != nil, "another account's is another matter")
        #expect(try home.blobs.missing(of: Home.alice, limit: 10).isEmpty)
        #expect(throws: BlobUploadError.takenDown) { try home.upload(BlobTests.png, of: Home.alice) }
        #expect(throws: RepoError.blobNotFound(blob.cid)) {
            try home.repos.apply([BlobTests.write("com.example.thing/b", blob)], to: Home.alice)
        }
        #expect(try store.find(blob.cid, of: Home.alice)?.reference == nil)
        #expect(try store.find(blob.cid, of: Home.alice)?.at == Self.moment)
        #expect(try home.blobs.isKnown(blob.cid, of: Home.alice))
        #expect(try !home.blobs.isKnown(CID(hashing: [9], codec: .raw), of: Home.alice))
        try set(false)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) != nil)
        try home.repos.apply([BlobTests.write("com.example.thing/b", blob)], to: Home.alice)
    }

    @Test(arguments: Engine.all) func repositoriesByCollection(_ engine: Engine) throws {
        let home = try Home(engine)
        let names = [
            "did:web:a.example.com", "did:web:b.example.com", "did:web:c.example.com", "did:web:d.example.com",
        ]
        let dids = names.map { DID(Bytes($0))! }
        for (index, did) in dids.enumerated() {
            try home.create(did)
            if index != 1 { try home.repos.apply([put("com.example.thing/a", "x")], to: did) }
            try home.repos.apply([put("com.example.thingmore/a", "x")], to: did)
        }
        try home.database.write { try home.repos.setStatus(.deactivated, of: dids[2], in: $0) }
        let thing = NSID("com.example.thing")!
        let first = try home.repos.list(having: thing, after: 0, limit: 1)
        #expect(first.dids == [dids[0]])
        let next = try #require(first.next)
        let rest = try home.repos.list(having: thing, after: next, limit: 10)
        #expect(rest.dids == [dids[3]] && rest.next == nil)
        #expect(try home.repos.list(having: NSID("com.example.thin")!, after: 0, limit: 10).dids.isEmpty)
        #expect(try home.repos.list(having: NSID("com.example.thingmore")!, after: 0, limit: 10).dids.count == 3)
    }

    /// More rows than one transaction removes, and a stop in between.
    @Test(arguments: Engine.all) func removalGoesOnWhereItStopped(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        try home.repos.apply([put("com.example.thing/a", "x")], to: Home.bob)
        let count = RepoStore.removalBatch + 10
        for start in stride(from: 0, to: count, by: 200) {
            let writes = try (start..<min(start + 200, count)).map { try put("com.example.thing/\($0)", "x") }
            try home.repos.apply(writes, to: Home.alice)
        }
        #expect(try !home.repos.removeRows(of: Home.alice), "only a deleted one is removed")
        #expect(try home.records.count(of: Home.alice) == count)
        try home.database.write { try home.repos.markDeleted(Home.alice, in: $0) }
        #expect(try home.repos.removeRows(of: Home.alice), "there is more")
        let other = home.otherProcess()
        #expect(try other.deleted(limit: 10) == [Home.alice])
        while try other.removeRows(of: Home.alice) {}
        try other.finishRemoval(of: Home.alice)
        let left = try home.database.read { try $0.first("SELECT count(*) FROM record") { try $0.integer(0) } }
        #expect(left == 1)
        #expect(try home.repos.verify(Home.bob).problems == [])
    }

    @Test(arguments: Engine.all) func eventsGoButTheLast(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        for key in ["a", "b"] { try home.repos.apply([put("com.example.thing/\(key)", "x")], to: Home.alice) }
        try home.database.write { try home.events.appendAccount(Home.alice, .deleted, in: $0) }
        try home.repos.apply([put("com.example.thing/a", "x")], to: Home.bob)
        func seqs(_ did: DID) throws -> [Int] {
            try home.database.read { reader in
                try reader.all("SELECT seq FROM event WHERE did = \(did.sql) ORDER BY seq") { try $0.integer(0) }
            }
        }
        #expect(try seqs(Home.alice).count == 4)
        try home.events.removeAll(of: Home.alice)
        #expect(try seqs(Home.alice) == [5])
        try home.events.removeAll(of: Home.alice)
        #expect(try seqs(Home.alice) == [5], "twice is as once")
        #expect(try seqs(Home.bob) == [2, 6])
        try home.events.removeAll(of: did("did:web:nobody.example.com"))
    }
}
