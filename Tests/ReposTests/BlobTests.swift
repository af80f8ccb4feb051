import Foundation
import TestSupport
import Testing

@testable import ATProto
@testable import Base
@testable import Repos
@testable import Storage

@Suite struct BlobTests {
    static let png: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 1, 2, 3]

    static func write(_ name: String, _ blob: BlobReference) throws -> RecordWrite {
        let path = path(name)
        return RecordWrite(path, .put(try block(path, .map([.init(key: "image", value: blob.value)]))))
    }

    @Test(arguments: Engine.all) func lifeOfABlob(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let blob = try home.upload(Self.png, of: Home.alice, declared: "*/*")
        #expect(blob.cid == CID(hashing: Self.png, codec: .raw))
        #expect(blob.mimeType == "image/png" && blob.size == 11)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == nil, "not served before a record names it")

        try home.repos.apply([Self.write("com.example.thing/a", blob)], to: Home.alice)
        let entry = try #require(try home.blobs.find(blob.cid, of: Home.alice))
        #expect(entry.cid == blob.cid && entry.mimeType == "image/png" && entry.size == 11)
        #expect(entry.file == entry.object.name && entry.place == .disk)
        #expect(try home.blobs.find(blob.cid, of: Home.bob) == nil)
        #expect(try home.bytes(blob.cid) == Self.png)
        #expect(try home.blobs.list(of: Home.alice, limit: 10) == [blob.cid])
        let rev = try home.repos.state(of: Home.alice).rev
        #expect(try home.blobs.list(of: Home.alice, since: rev, limit: 10) == [])
        #expect(try home.blobs.list(of: Home.alice, after: blob.cid, limit: 10) == [])

        // Named twice: one record less is not the end of it.
        try home.repos.apply([Self.write("com.example.thing/b", blob)], to: Home.alice)
        try home.repos.apply([RecordWrite(path("com.example.thing/a"), .delete)], to: Home.alice)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == entry)
        try home.repos.apply([put("com.example.thing/b", "without")], to: Home.alice)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == nil)
        #expect(try home.blobs.list(of: Home.alice, limit: 10) == [])
        // Still in its grace, so that it can be named again.
        #expect(try home.blobs.purge() == 0)
        try home.repos.apply([Self.write("com.example.thing/c", blob)], to: Home.alice)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == entry)
    }

    @Test(arguments: Engine.all) func wrongReferences(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let blob = try home.upload(Self.png, of: Home.alice)
        let stranger = try home.upload([UInt8]("bob's".utf8), of: Home.bob)
        let unknown = CID(hashing: [1], codec: .raw)
        let rows: [(String, BlobReference, RepoError)] = [
            ("unknown", BlobReference(cid: unknown, mimeType: "image/png", size: 1), .blobNotFound(unknown)),
            ("someone else's", stranger, .blobNotFound(stranger.cid)),
            (
                "other type", BlobReference(cid: blob.cid, mimeType: "image/jpeg", size: blob.size),
                .invalidMimeType(blob.cid, expected: "image/png")
            ),
            (
                "other size", BlobReference(cid: blob.cid, mimeType: "image/png", size: 12),
                .invalidSize(blob.cid, expected: 11)
            ),
        ]
        for (name, reference, error) in rows {
            #expect(throws: error, "\(name)") {
                try home.repos.apply([Self.write("com.example.thing/a", reference)], to: Home.alice)
            }
        }
        #expect(try home.records.count(of: Home.alice) == 0)
        #expect(try home.blobs.find(blob.cid, of: Home.alice) == nil)
    }

    @Test(arguments: Engine.all) func purge(_ engine: Engine) throws {
        let home = try Home(engine)
        let later = Clock { Timestamp(seconds: 1_800_000_000 + BlobStore.graceSeconds + 1) }
        let store = try BlobStore(
            database: home.database, clock: later, directory: home.blobs.directory, sizeMax: 100)
        try home.create(Home.alice)
        let kept = try home.upload([UInt8]("kept".utf8), of: Home.alice)
        let shared = try home.upload([UInt8]("shared".utf8), of: Home.alice)
        let gone = try home.upload([UInt8]("gone".utf8), of: Home.alice)
        try home.repos.apply([Self.write("com.example.thing/a", kept)], to: Home.alice)
        _ = try home.upload([UInt8]("shared".utf8), of: Home.bob, in: store)
        #expect(try store.purge() == 2)
        #expect(try store.purge() == 0)
        #expect(try home.isStored(kept.cid))
        #expect(try home.isStored(shared.cid), "someone else has it still")
        #expect(try home.isStored(gone.cid), "in the trash")
        let end = try home.blobs(after: BlobStore.graceSeconds + BlobStore.trashSeconds + 2)
        #expect(try end.emptyTrash() == 2)
        #expect(home.files.count == 3, "nothing is removed in a transaction")
        #expect(try end.sweep() == 1)
        #expect(home.files.count == 2)
        #expect(try end.sweep() == 0)
        #expect(try !home.isStored(gone.cid) && home.isStored(shared.cid), "someone else has it still")
        // All blobs of a removed repository go at once, whatever their grace.
        _ = try home.upload([UInt8]("kept".utf8), of: Home.bob, in: store)
        let own = try home.upload([UInt8]("own".utf8), of: Home.alice)
        #expect(try !home.blobs.remove(of: Home.alice))
        #expect(try home.blobs.sweep() == 1)
        #expect(try !home.isStored(own.cid))
        #expect(try home.isStored(kept.cid), "someone else has it still")
        #expect(try !home.blobs.remove(of: Home.bob))
        #expect(try home.blobs.sweep() == 2)
        #expect(try !home.isStored(kept.cid) && home.files.isEmpty)
    }

    @Test func uploads() throws {
        let home = try Home(.sqlite, blobSizeMax: 10)
        #expect(throws: BlobUploadError.empty) { try home.upload([], of: Home.alice) }
        #expect(throws: BlobUploadError.tooLarge(max: 10)) {
            try home.upload([UInt8](repeating: 1, count: 11), of: Home.alice)
        }
        let upload = try home.blobs.begin(entropy: .system)
        for byte in [UInt8]("0123456789".utf8) { try withUnsafeBytes(of: byte) { try upload.write($0) } }
        #expect(throws: BlobUploadError.tooLarge(max: 10)) { try withUnsafeBytes(of: 1) { try upload.write($0) } }
        let blob = try home.blobs.finish(upload, of: Home.alice, declared: "Text/Plain; charset=utf-8")
        #expect(blob.cid == CID(hashing: [UInt8]("0123456789".utf8), codec: .raw))
        #expect(blob.mimeType == "text/plain" && blob.size == 10)
        #expect(try home.upload([UInt8]("0123456789".utf8), of: Home.alice) == blob)
        let left = try FileManager.default.contentsOfDirectory(atPath: home.blobs.directory + "/tmp")
        #expect(left == [])
        #expect(FileManager.default.contents(atPath: try home.file(blob.cid)) == Data("0123456789".utf8))
    }

    @Test(arguments: Engine.all) func missing(_ engine: Engine) throws {
        let home = try Home(engine)
        try home.create(Home.alice)
        let blob = try home.upload(Self.png, of: Home.alice)
        try home.repos.apply([Self.write("com.example.thing/a", blob)], to: Home.alice)
        #expect(try home.blobs.missing(of: Home.alice, limit: 10).isEmpty)
        _ = try home.database.write { try $0.run("DELETE FROM blob") }
        let missing = try home.blobs.missing(of: Home.alice, limit: 10)
        #expect(missing.map(\.cid) == [blob.cid] && missing.map(\.path) == ["com.example.thing/a"])
        #expect(try home.blobs.missing(of: Home.alice, after: blob.cid, limit: 10).isEmpty)
    }

    @Test func mediaTypes() {
        let rows: [(String, Bytes?, [UInt8], Bytes)] = [
            ("PNG", "*/*", Self.png, "image/png"),
            ("JPEG that says PNG", "image/png", [0xFF, 0xD8, 0xFF, 0xE0], "image/jpeg"),
            ("GIF", nil, Array("GIF89a..".utf8), "image/gif"),
            ("WebP", nil, Array("RIFF\u{1}\u{0}\u{0}\u{0}WEBPVP8 ".utf8), "image/webp"),
            ("AVIF", nil, [0, 0, 0, 28] + Array("ftypavif".utf8), "image/avif"),
            ("MP4", "video/mp4", [0, 0, 0, 28] + Array("ftypisom".utf8), "video/mp4"),
            ("PDF", nil, Array("%PDF-1.7".utf8), "application/pdf"),
            ("page that says image", "image/png", Array("\n <!DOCTYPE HTML><p>".utf8), "text/html"),
            ("script that says image", "image/gif", Array("<SCRIPT>alert(1)".utf8), "text/html"),
            ("SVG", "image/png", Array("<?xml version='1.0'?>\n<svg xmlns=''>".utf8), "image/svg+xml"),
            ("XML", nil, Array("<?xml version='1.0'?><a/>".utf8), "application/xml"),
            ("text", "text/plain;charset=utf-8", Array("hello".utf8), "text/plain"),
            ("unknown, any declared", "*/*", Array("hello".utf8), "application/octet-stream"),
            ("unknown, some image declared", "image/*", Array("hello".utf8), "application/octet-stream"),
            ("unknown, nothing declared", nil, [1, 2, 3], "application/octet-stream"),
            ("no type at all", "nonsense", [1, 2, 3], "application/octet-stream"),
            ("line break in the declared type", "a/b\r\nx", [1], "application/octet-stream"),
            ("cut off PNG", "image/png", Array(Self.png.prefix(4)), "image/png"),
            ("BM at the start of a text", "text/plain", Array("BMW is a maker of cars".utf8), "text/plain"),
            ("empty", nil, [], "application/octet-stream"),
        ]
        for (name, declared, bytes, wanted) in rows {
            #expect(MediaType.decide(declared: declared, prefix: Bytes(bytes)) == wanted, "\(name)")
        }
    }
}
