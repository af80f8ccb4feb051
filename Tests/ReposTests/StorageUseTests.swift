import Foundation
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Crypto
@testable import Repos
@testable import Storage

extension Home {
    /// The same blobs as another moment has them.
    func blobs(after seconds: Int64) throws -> BlobStore {
        let now = clock.now().adding(seconds: seconds)
        return try BlobStore(
            database: database, clock: Clock { now }, directory: blobs.directory, sizeMax: 100_000, quota: blobs.quota)
    }

    func problems(hashing: Bool = true) throws -> [BlobStore.Problem] {
        var found: [BlobStore.Problem] = []
        try blobs.check(hashing: hashing) { _, _ in
        } _: {
            found.append($0)
        }
        return found
    }

    /// The object that has a blob's bytes, by the rows.
    func object(_ cid: CID) throws -> BlobObject? {
        try database.first("SELECT generation FROM blob_object WHERE cid = \(cid.sql)") {
            BlobObject(cid: cid, generation: try $0.text(0))
        }
    }

    func isStored(_ cid: CID) throws -> Bool {
        try object(cid).map { try blobs.places.disk.size(of: $0) } ?? nil != nil
    }
    func file(_ cid: CID) throws -> String { blobs.places.disk.path(try #require(try object(cid))) }

    func bytes(_ cid: CID) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try blobs.places.disk.open(try #require(try object(cid)), range: nil)?.read { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// The names of all files of blobs, sorted by folder.
    var files: [Bytes] {
        var names: [Bytes] = []
        try? blobs.places.disk.eachName { names.append($0) }
        return names
    }

    func trash(of did: DID) throws -> [CID] {
        try database.read {
            try $0.all("SELECT cid FROM blob_trash WHERE did = \(did.sql) ORDER BY cid") { try $0.cid(0) }
        }
    }
}

@Suite struct StorageUseTests {
    @Test(arguments: Engine.all) func keptThroughEverything(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        func check(_ records: [(String, [Int])], blobs: Int, _ name: String) throws {
            let use = try home.repos.storageUse(of: Home.alice)
            #expect(
                use.collections
                    == records.map {
                        .init(name: Bytes($0.0), count: $0.1.count, bytes: $0.1.reduce(0, +))
                    }, "\(name)")
            #expect(use.recordBytes == records.flatMap(\.1).reduce(0, +), "\(name)")
            #expect(use.blobBytes == blobs, "\(name)")
            let report = try home.repos.verify(Home.alice, key: home.key.publicKey)
            #expect(report.problems == [], "\(name)")
        }
        func size(_ name: String, _ text: String) throws -> Int { try block(path(name), post(text)).bytes.count }
        try check([], blobs: 0, "empty")
        try home.repos.apply([put("a.b.c/1", "one"), put("a.b.c/2", "two"), put("a.b.d/1", "x")], to: Home.alice)
        let (one, two, other) = (try size("a.b.c/1", "one"), try size("a.b.c/2", "two"), try size("a.b.d/1", "x"))
        try check([("a.b.c", [one, two]), ("a.b.d", [other])], blobs: 0, "created")
        try home.repos.apply([put("a.b.c/1", "longer than one"), put("a.b.c/2", "")], to: Home.alice)
        let longer = try size("a.b.c/1", "longer than one")
        try check([("a.b.c", [longer, try size("a.b.c/2", "")]), ("a.b.d", [other])], blobs: 0, "updated")
        try home.repos.apply(
            [RecordWrite(path("a.b.c/2"), .delete), put("a.b.d/2", "y"), RecordWrite(path("a.b.d/2"), .delete)],
            to: Home.alice)
        try check([("a.b.c", [longer]), ("a.b.d", [other])], blobs: 0, "deleted, and made and deleted at once")

        _ = try home.upload([1, 2, 3], of: Home.alice)
        _ = try home.upload([1, 2, 3], of: Home.alice)
        _ = try home.upload([4, 5, 6, 7], of: Home.alice)
        try check([("a.b.c", [longer]), ("a.b.d", [other])], blobs: 7, "uploaded, one of them twice")
        #expect(try home.repos.storageUse(of: Home.alice).blobCount == 2)
        let later = try home.blobs(after: BlobStore.graceSeconds + 1)
        #expect(try later.purge() == 2)
        try check([("a.b.c", [longer]), ("a.b.d", [other])], blobs: 0, "purged")
        #expect(try later.restore(of: Home.alice) == 2)
        try check([("a.b.c", [longer]), ("a.b.d", [other])], blobs: 7, "restored")

        let foreign = try ForeignRepo(ForeignRepo.posts(20))
        try home.take(foreign.car())
        let sizes = (0..<20).map { ForeignRepo.post("post \($0)").count }
        try check([("app.bsky.feed.post", sizes)], blobs: 7, "imported")
        #expect(try home.problems() == [])
        // An account that goes and comes back before its blobs have gone.
        try home.remove(Home.alice)
        try home.create(Home.alice)
        try check([], blobs: 7, "made anew")
        #expect(try home.blobs(after: 3 * BlobStore.graceSeconds).purge() == 2)
        try check([], blobs: 0, "and its old blobs gone")
    }

    @Test(arguments: Engine.all) func upToTheLastByte(_ engine: Engine) throws {
        let size = try block(path("a.b.c/1"), post("12345")).bytes.count
        let home = try Home(engine, quota: StorageQuota(hard: size + 10))
        let full = RepoError.quotaExceeded(max: size + 10)
        try home.create(Home.alice)
        try home.create(Home.bob)
        _ = try home.upload([UInt8](repeating: 1, count: 10), of: Home.alice)
        #expect(throws: full) { try home.repos.apply([put("a.b.c/1", "123456")], to: Home.alice) }
        #expect(try home.records.count(of: Home.alice) == 0)
        try home.repos.apply([put("a.b.c/1", "12345")], to: Home.alice)
        // Nothing more, of either kind.
        let last = try home.events.newest()
        let before = try home.export(Home.alice)
        #expect(throws: full) { try home.repos.apply([put("a.b.c/2", "")], to: Home.alice) }
        #expect(throws: full) { try home.repos.apply([put("a.b.c/1", "123456")], to: Home.alice) }
        #expect(throws: full) { try home.upload([7], of: Home.alice) }
        #expect(throws: full) { try home.take(ForeignRepo(ForeignRepo.posts(5)).car()) }
        #expect(try home.export(Home.alice) == before)
        #expect(try home.events.newest() == last)
        #expect(home.files.count == 1, "a refused upload leaves no file")
        // What is there already costs nothing, what is shorter and what goes works; others have their own.
        _ = try home.upload([UInt8](repeating: 1, count: 10), of: Home.alice)
        _ = try home.upload([7], of: Home.bob)
        #expect(throws: full) { try home.upload([7], of: Home.alice) }
        #expect(try home.isStored(CID(hashing: [7], codec: .raw)), "bob's file stays")
        try home.repos.apply([put("a.b.c/1", "1234")], to: Home.alice)
        _ = try home.upload([8], of: Home.alice)
        #expect(throws: full) { try home.upload([9], of: Home.alice) }
        try home.repos.apply([RecordWrite(path("a.b.c/1"), .delete)], to: Home.alice)
        _ = try home.upload([9], of: Home.alice)
        #expect(try home.problems() == [])
    }

    @Test(arguments: Engine.all) func whoIsAboveTheSoftQuota(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        _ = try home.upload([UInt8](repeating: 1, count: 1_000), of: Home.alice)
        _ = try home.upload([UInt8](repeating: 1, count: 1_001), of: Home.bob)
        func above(_ bytes: Int, limit: Int = 10) throws -> [DID] {
            try StorageUse.accounts(above: bytes, limit: limit, in: home.database).map(\.did)
        }
        #expect(try above(0) == [Home.bob, Home.alice])
        #expect(try above(0, limit: 1) == [Home.bob])
        #expect(try above(1_000) == [Home.bob])
        #expect(try above(1_001) == [])
    }

    // MARK: Trash

    @Test(arguments: Engine.all) func thereAndBack(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        let bytes = [UInt8]("a picture".utf8)
        let blob = try home.upload(bytes, of: Home.alice)
        try home.repos.apply([BlobTests.write("com.example.thing/a", blob)], to: Home.alice)
        #expect(try home.blobs.restore(of: Home.alice) == 0)
        try home.repos.apply([RecordWrite(path("com.example.thing/a"), .delete)], to: Home.alice)
        let later = try home.blobs(after: BlobStore.graceSeconds + 1)
        #expect(try home.blobs.purge() == 0)
        #expect(try later.purge() == 1)
        #expect(try home.trash(of: Home.alice) == [blob.cid] && home.isStored(blob.cid))
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == nil)
        #expect(try home.problems() == [])
        #expect(try later.emptyTrash() == 0, "not yet")
        // Someone else has it anew meanwhile.
        _ = try home.upload(bytes, of: Home.bob)
        #expect(home.files.count == 1, "the same bytes are stored once")
        #expect(throws: RepoError.repoNotFound(did("did:plc:nobody2222222222222222z2"))) {
            try home.blobs.restore(of: did("did:plc:nobody2222222222222222z2"))
        }
        #expect(try later.restore(CID(hashing: [1], codec: .raw), of: Home.alice) == 0)
        #expect(try later.restore(blob.cid, of: Home.bob) == 0, "it is not bob's")
        #expect(try later.restore(blob.cid, of: Home.alice) == 1)
        #expect(try later.restore(of: Home.alice) == 0)
        // It can be named again, with the type that it had.
        try home.repos.apply([BlobTests.write("com.example.thing/b", blob)], to: Home.alice)
        #expect(try home.blobs.find(blob.cid, of: Home.alice)?.size == 9)
        #expect(try home.problems() == [])
    }

    @Test(arguments: Engine.all) func goneInTheEnd(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        let shared = try home.upload([UInt8]("shared".utf8), of: Home.alice)
        _ = try home.upload([UInt8]("shared".utf8), of: Home.bob)
        let own = try home.upload([UInt8]("own".utf8), of: Home.alice)
        let first = try home.blobs(after: BlobStore.graceSeconds + 1)
        #expect(try first.purge() == 3)
        #expect(try first.restore(shared.cid, of: Home.bob) == 1)
        let last = try home.blobs(after: BlobStore.graceSeconds + BlobStore.trashSeconds + 2)
        #expect(try last.emptyTrash() == 2)
        #expect(try last.emptyTrash() == 0)
        let name = try #require(try home.object(shared.cid)).name
        #expect(try last.sweep() == 1 && home.files == [name] && home.object(own.cid) == nil)
        #expect(try home.trash(of: Home.alice) == [] && home.trash(of: Home.bob) == [])
        #expect(try home.blobs.restore(of: Home.alice) == 0)
    }

    @Test(arguments: Engine.all) func aDeletedAccountLeavesNothingInTheTrash(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        try home.create(Home.bob)
        let shared = try home.upload([UInt8]("shared".utf8), of: Home.alice)
        _ = try home.upload([UInt8]("shared".utf8), of: Home.bob)
        _ = try home.upload([UInt8]("own".utf8), of: Home.alice)
        let later = try home.blobs(after: BlobStore.graceSeconds + 1)
        #expect(try later.purge() == 3)
        #expect(try !later.remove(of: Home.alice))
        #expect(try home.trash(of: Home.alice) == [] && home.trash(of: Home.bob) == [shared.cid])
        #expect(try later.sweep() == 1)
        #expect(try home.isStored(shared.cid) && home.files.count == 1, "bob's is there still")
        #expect(try later.restore(of: Home.alice) == 0)
        #expect(try later.restore(of: Home.bob) == 1)
    }

    @Test(arguments: Engine.all) func bytesThatAreGoneAreNotBroughtBack(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let blob = try home.upload([UInt8]("other".utf8), of: Home.alice)
        let later = try home.blobs(after: BlobStore.graceSeconds + 1)
        #expect(try later.purge() == 1)
        _ = try home.database.write { try $0.run("DELETE FROM blob_object") }
        #expect(throws: RepoError.blobNotFound(blob.cid)) { try later.restore(of: Home.alice) }
        #expect(try home.repos.storageUse(of: Home.alice).blobBytes == 0)
        #expect(try home.trash(of: Home.alice) == [blob.cid])
    }

    @Test(arguments: Engine.all) func whatIsWrong(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let blobs = try (0..<6).map { try home.upload([UInt8]("blob \($0)".utf8), of: Home.alice) }
        #expect(try home.problems() == [])
        let manager = FileManager.default
        try manager.removeItem(atPath: try home.file(blobs[0].cid))
        try Data("blob X".utf8).write(to: URL(filePath: try home.file(blobs[1].cid)))
        try Data("longer than it was".utf8).write(to: URL(filePath: try home.file(blobs[2].cid)))
        _ = try home.database.write { try $0.run("DELETE FROM blob WHERE cid = \(blobs[3].cid.sql)") }
        let (idle, kept) = (try #require(try home.object(blobs[3].cid)), try #require(try home.object(blobs[4].cid)))
        // An object without a row, and something that is no object.
        let stray = BlobObject(cid: blobs[4].cid, generation: "another")
        for name in [stray.name, kept.name.upTo(3) + "notes.txt"] {
            try Data("stray".utf8).write(to: URL(filePath: home.blobs.directory + "/\(name)"))
        }
        let wanted: [BlobStore.Problem] = [
            .missing(Home.alice, blobs[0].cid), .damaged(blobs[1].cid), .size(Home.alice, blobs[2].cid),
            .unnamed(.disk, idle.name), .unnamed(.disk, stray.name), .unnamed(.disk, kept.name.upTo(3) + "notes.txt"),
            .storageUse(Home.alice, stored: 36, counted: 30),
        ]
        let found = try home.problems()
        #expect(found.count == wanted.count && found.allSatisfy(wanted.contains), "\(found)")
        let quick = try home.problems(hashing: false)
        #expect(!quick.contains(.damaged(blobs[1].cid)) && quick.count == found.count - 1)
    }
}
