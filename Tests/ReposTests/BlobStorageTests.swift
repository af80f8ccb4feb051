import Foundation
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Repos
@testable import Storage

/// A bucket in memory that can be out of order.
final class MemoryBucket: BlobStorage {
    struct Down: Error {}
    struct State {
        var objects: [Bytes: [UInt8]] = [:]
        var isDown = false
        /// Runs once, when bytes have come and before they are stored.
        var whenPut: (@Sendable () throws -> Void)?
        var puts = 0
    }

    let state = Guarded(State())

    private func answer<Result>(_ body: (inout State) throws -> Result) throws -> Result {
        try state.withLock { state in
            if state.isDown { throw Down() }
            return try body(&state)
        }
    }

    func put(_ object: BlobObject, _ file: BlobFile) throws {
        let bytes = try Files.read(file.path, sizeMax: file.size)
        let hook = try answer { state in
            defer { state.whenPut = nil }
            return state.whenPut
        }
        try hook?()
        try answer { state in
            #expect(state.objects[object.name] == nil, "no name is used twice")
            state.objects[object.name] = bytes
            state.puts += 1
        }
    }

    func open(_ object: BlobObject, range: Range<Int>?) throws -> BlobContent? {
        try answer { $0.objects[object.name] }.map { bytes in
            let part = range.map { Array(bytes[$0]) } ?? bytes
            return BlobContent(size: part.count) { sink in try part.withUnsafeBytes { try sink($0) } }
        }
    }

    func size(of object: BlobObject) throws -> Int? { try answer { $0.objects[object.name]?.count } }
    func remove(_ object: BlobObject) throws { try answer { $0.objects[object.name] = nil } }
    func eachName(_ body: (Bytes) throws -> Void) throws { try answer { $0.objects.keys.sorted() }.forEach(body) }

    var names: [Bytes] { state.withLock { $0.objects.keys.sorted() } }
}

@Suite struct BlobStorageTests {
    private func store(
        _ home: Home, _ bucket: MemoryBucket?, into place: BlobPlace = .s3, after seconds: Int64 = 0
    ) throws -> BlobStore {
        let now = home.clock.now().adding(seconds: seconds)
        return try BlobStore(
            database: home.database, clock: Clock { now }, directory: home.blobs.directory, sizeMax: 100_000,
            quota: home.blobs.quota, s3: bucket, target: place)
    }

    private func leftovers(_ home: Home) throws -> Int {
        try home.database.first("SELECT count(*) FROM blob_leftover") { try $0.integer(0) } ?? -1
    }

    private func name(_ blob: BlobReference, in home: Home) throws -> BlobReference {
        try home.repos.apply([BlobTests.write("com.example.thing/\(blob.cid)", blob)], to: Home.alice)
        return blob
    }

    private func read(_ blob: BlobReference, from store: BlobStore) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try store.open(try #require(try store.find(blob.cid, of: Home.alice))).read { bytes.append(contentsOf: $0) }
        return bytes
    }

    @Test func names() throws {
        let cid = CID(hashing: [1], codec: .raw)
        let text = "\(cid)"
        let folder = String(text.suffix(2))
        let rows: [(String, String, Bytes?)] = [
            ("with a generation", "\(folder)/\(text).0a1b", "0a1b"), ("from before", "\(folder)/\(text)", ""),
            ("nothing", "", nil), ("no folder", text, nil), ("another folder", "zz/\(text).0a", nil),
            ("two generations", "\(folder)/\(text).0a.0b", nil), ("empty generation", "\(folder)/\(text).", nil),
            ("no CID", "\(folder)/x\(text)", nil), ("deeper", "x/\(folder)/\(text)", nil),
            ("long", "\(folder)/\(text).\(String(repeating: "a", count: 65))", nil),
            ("upper case", "\(folder)/\(text.uppercased())", nil),
        ]
        for (row, name, generation) in rows {
            #expect(BlobObject(name: Bytes(name))?.generation == generation, "\(row)")
        }
    }

    @Test(arguments: Engine.all) func aLifeInABucket(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let bucket = MemoryBucket()
        let store = try store(home, bucket)
        let blob = try name(home.upload(BlobTests.png, of: Home.alice, in: store), in: home)
        let entry = try #require(try store.find(blob.cid, of: Home.alice))
        #expect(entry.file == nil && entry.place == .s3 && bucket.names == [entry.object.name])
        #expect(try read(blob, from: store) == BlobTests.png && leftovers(home) == 0)
        #expect(home.files == [])
        // Once, whoever brings the same bytes, and wherever those that the disk takes would go.
        _ = try home.upload(BlobTests.png, of: Home.bob, in: store)
        _ = try home.upload(BlobTests.png, of: Home.bob)
        #expect(bucket.names.count == 1 && home.files == [] && bucket.state.withLock { $0.puts } == 1)
        #expect(try home.upload([UInt8]("more".utf8), of: Home.bob).size == 4)
        #expect(home.files.count == 1)
        try store.check(hashing: true) { _, _ in
        } _: {
            Issue.record("\($0)")
        }
        // Without its settings: no wrong answer, and nothing is given up.
        let without = try self.store(home, nil, into: .disk)
        #expect(throws: BlobStorageError.notConfigured(.s3)) { try without.open(entry) }
        #expect(throws: BlobStorageError.notConfigured(.s3)) {
            try without.check(hashing: false) { _, _ in
            } _: { _ in
            }
        }
        #expect(throws: BlobStorageError.notConfigured(.s3)) {
            try home.upload([1], of: Home.alice, in: try self.store(home, nil))
        }
        #expect(try leftovers(home) == 1, "what was reserved is known of")
        // To the end.
        while try store.remove(of: Home.alice) {}
        #expect(try store.sweep() == 0)
        #expect(bucket.names.count == 1, "bob has it still")
        while try store.remove(of: Home.bob) {}
        #expect(throws: BlobStorageError.notConfigured(.s3)) { try without.sweep() }
        #expect(home.files == [], "the disk is swept all the same")
        #expect(try store.sweep() == 1 && bucket.names == [])
        #expect(try self.store(home, bucket, after: BlobStore.reservationSeconds).sweep() == 1)
        #expect(try leftovers(home) == 0)
    }

    @Test(arguments: Engine.all) func whileItIsDown(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let bucket = MemoryBucket()
        let store = try store(home, bucket)
        let blob = try name(home.upload(BlobTests.png, of: Home.alice, in: store), in: home)
        bucket.state.withLock { $0.isDown = true }
        #expect(throws: MemoryBucket.Down.self) { try home.upload([1], of: Home.alice, in: store) }
        #expect(throws: MemoryBucket.Down.self) { try read(blob, from: store) }
        #expect(try home.repos.storageUse(of: Home.alice).blobCount == 1, "the failed upload is nowhere")
        #expect(try leftovers(home) == 1)
        while try store.remove(of: Home.alice) {}
        #expect(throws: MemoryBucket.Down.self) { try store.sweep() }
        #expect(try leftovers(home) == 2 && bucket.names.count == 1, "kept in mind until it is up again")
        bucket.state.withLock { $0.isDown = false }
        #expect(try store.sweep() == 2)
        #expect(try leftovers(home) == 0 && bucket.names == [])
    }

    @Test(arguments: Engine.all) func twoAtOnce(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let bucket = MemoryBucket()
        let store = try store(home, bucket)
        // The same bytes come in a second time while the first are on their way.
        bucket.state.withLock { state in
            state.whenPut = { _ = try home.upload(BlobTests.png, of: Home.bob, in: store) }
        }
        let blob = try name(home.upload(BlobTests.png, of: Home.alice, in: store), in: home)
        #expect(bucket.state.withLock { $0.puts } == 2 && bucket.names.count == 1, "the later one is removed at once")
        #expect(try read(blob, from: store) == BlobTests.png && leftovers(home) == 0)
        // It goes while another comes: the new one has bytes of its own.
        bucket.state.withLock { state in
            state.whenPut = {
                while try store.remove(of: Home.alice) {}
                while try store.remove(of: Home.bob) {}
                let swept = try store.sweep()
                #expect(swept == 1)
            }
        }
        let fresh = [UInt8]("another".utf8)
        _ = try home.upload(fresh, of: Home.alice, in: store)
        #expect(bucket.names.count == 1)
        #expect(try home.object(blob.cid) == nil)
    }

    @Test(arguments: Engine.all) func storingThatTookTooLong(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let bucket = MemoryBucket()
        let store = try store(home, bucket)
        let later = try self.store(home, bucket, after: BlobStore.reservationSeconds)
        let early = try self.store(home, bucket, after: BlobStore.reservationSeconds - 1)
        bucket.state.withLock { state in
            state.whenPut = {
                let (first, second) = (try early.sweep(), try later.sweep())
                #expect(first == 0 && second == 1, "given up although it is still on its way")
            }
        }
        #expect(throws: BlobStorageError.tooLate(CID(hashing: BlobTests.png, codec: .raw))) {
            try home.upload(BlobTests.png, of: Home.alice, in: store)
        }
        #expect(try home.repos.storageUse(of: Home.alice).blobCount == 0)
        #expect(try home.object(CID(hashing: BlobTests.png, codec: .raw)) == nil)
    }

    @Test(arguments: Engine.all) func moving(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let bucket = MemoryBucket()
        let toBucket = try store(home, bucket)
        let toDisk = try store(home, bucket, into: .disk)
        let blobs = try (0..<250).map { try home.upload([UInt8]("blob \($0)".utf8), of: Home.alice) }
        for blob in blobs.prefix(3) { _ = try name(blob, in: home) }
        // One is damaged, one is missing, one is in the trash.
        try Data("blob ?".utf8).write(to: URL(filePath: try home.file(blobs[0].cid)))
        try FileManager.default.removeItem(atPath: try home.file(blobs[1].cid))
        func move(_ store: BlobStore) throws -> (BlobStore.MoveProgress, [BlobStore.Problem]) {
            var problems: [BlobStore.Problem] = []
            var heard = 0
            let state = try store.move(entropy: .system) { _ in
                heard += 1
            } _: {
                problems.append($0)
            }
            #expect(heard == state.moved + state.left)
            return (state, problems)
        }
        // It breaks off, and is begun again.
        bucket.state.withLock { state in state.whenPut = { throw MemoryBucket.Down() } }
        #expect(throws: MemoryBucket.Down.self) { _ = try move(toBucket) }
        #expect(try leftovers(home) == 0)
        let (state, problems) = try move(toBucket)
        #expect(state.moved == 248 && state.left == 2 && state.all == 250)
        #expect(problems.count == 2 && problems.contains(.damaged(blobs[0].cid)))
        #expect(problems.contains(.missing(Home.alice, blobs[1].cid)))
        #expect(bucket.names.count == 248)
        #expect(try read(blobs[2], from: toBucket) == [UInt8]("blob 2".utf8))
        // The old copies stay for answers that are under way.
        #expect(home.files.count == 249)
        #expect(try store(home, bucket, after: BlobStore.movedSeconds - 1).sweep() == 0)
        let later = try store(home, bucket, after: BlobStore.movedSeconds)
        var swept = 0
        while case let count = try later.sweep(), count > 0 { swept += count }
        #expect(swept == 248 && home.files.count == 1)
        #expect(try move(toBucket).0.moved == 0)
        // And back; a blob that goes just then is not brought back.
        let gone = try #require(try home.object(blobs[249].cid))
        var isFirst = true
        let back = try toDisk.move(entropy: .system) { _ in
            guard isFirst else { return }
            isFirst = false
            try? home.database.write { writer in
                _ = try writer.run("DELETE FROM blob WHERE cid = \(gone.cid.sql)")
                try toDisk.release(gone.cid, in: writer)
            }
        } _: {
            Issue.record("\($0)")
        }
        #expect(back.moved + back.left >= 247 && back.moved <= 248)
        #expect(try home.object(gone.cid) == nil)
        #expect(try read(blobs[2], from: toDisk) == [UInt8]("blob 2".utf8))
        let end = try store(home, bucket, after: 3 * BlobStore.movedSeconds)
        while try end.sweep() > 0 {}
        #expect(bucket.names == [] && home.files.count == 248)
    }

    @Test(arguments: Engine.all) func anOlderDatabase(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let bucket = MemoryBucket()
        let toBucket = try store(home, bucket)
        let blobs = try (0..<5).map { try name(home.upload([UInt8]("blob \($0)".utf8), of: Home.alice), in: home) }
        let before = try blobs.map { try #require(try home.object($0.cid)) }
        // Moved, the old copies removed, and then the rows are again as they were.
        #expect(
            try toBucket.move(entropy: .system) { _ in
            } _: {
                Issue.record("\($0)")
            }.moved == 5)
        #expect(try store(home, bucket, after: BlobStore.movedSeconds).sweep() == 5)
        try home.database.write { writer in
            for object in before {
                try writer.run(
                    """
                    UPDATE blob_object SET place = 'disk', generation = \(SQL.Value.text(object.generation))
                    WHERE cid = \(object.cid.sql)
                    """)
            }
            // One row is missing; one blob is nobody's any more.
            try writer.run("DELETE FROM blob_object WHERE cid = \(blobs[0].cid.sql)")
            try writer.run("DELETE FROM blob WHERE cid = \(blobs[1].cid.sql)")
        }
        // One is not what its name says.
        let damaged = try #require(bucket.names.first { BlobObject(name: $0)?.cid == blobs[2].cid })
        bucket.state.withLock { $0.objects[damaged] = [UInt8]("blob x".utf8) }
        #expect(try toBucket.recover() == 3)
        #expect(try toBucket.recover() == 0)
        for index in [0, 3, 4] { #expect(try read(blobs[index], from: toBucket) == [UInt8]("blob \(index)".utf8)) }
        #expect(throws: RepoError.blobNotFound(blobs[2].cid)) { try read(blobs[2], from: toBucket) }
        // What is where it should be stays there.
        let kept = try #require(try home.object(blobs[3].cid)).name
        let second = BlobObject(cid: blobs[3].cid, generation: "second")
        bucket.state.withLock { $0.objects[second.name] = $0.objects[kept] }
        #expect(try toBucket.recover() == 0 && home.object(blobs[3].cid)?.name == kept)
    }
}
