import ATProto
import Base
import Testing

@Suite struct BlobReferenceTests {
    static let raw = "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"
    static let block = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"

    static func blob(ref: String = #"{"$link":"\#(raw)"}"#, mime: String = "image/png", size: String = "7") -> String {
        #"{"$type":"blob","ref":\#(ref),"mimeType":"\#(mime)","size":\#(size)}"#
    }

    @Test("every blob, in order")
    func found() throws {
        let record = try JSON.parse(
            Bytes(#"{"a":[\#(Self.blob(size: "1")),{"x":\#(Self.blob(size: "2"))}],"bb":\#(Self.blob(size: "3"))}"#))
        let blobs = try record.blobReferences
        #expect(blobs.map(\.size) == [1, 2, 3])
        #expect(blobs.allSatisfy { $0.cid.codec == .raw && $0.mimeType == "image/png" })
        #expect(blobs[0].value == record["a"]?.array?[0])
        #expect(try blobs[0].value.blobReferences == [blobs[0]])
        #expect(try Value.null.blobReferences.isEmpty)
    }

    @Test("the blobs of a record that another server kept: old ones too, and nothing is refused")
    func ofAnotherServer() throws {
        let old = #"{"cid":"\#(Self.raw)","mimeType":"image/png"}"#
        let rows: [(String, String, Int)] = [
            ("typed", Self.blob(), 1), ("the same twice", "[\(Self.blob()),\(Self.blob(size: "9"))]", 1),
            ("of before 2023", old, 1), ("both", "[\(old),\(Self.blob())]", 1),
            ("inside", #"{"a":[{"b":\#(old)}]}"#, 1),
            ("wrong size", Self.blob(size: "-1"), 1), ("no type of media", Self.blob(mime: ""), 1),
            ("of another codec", Self.blob(ref: #"{"$link":"\#(Self.block)"}"#), 0),
            ("no link", Self.blob(ref: "7"), 0),
            ("old, of another codec", #"{"cid":"\#(Self.block)","mimeType":"a/b"}"#, 0),
            ("old, with more", #"{"cid":"\#(Self.raw)","mimeType":"a/b","x":1}"#, 0),
            ("old, no CID", #"{"cid":"x","mimeType":"a/b"}"#, 0), ("another type", #"{"$type":"blobs","ref":1}"#, 0),
            ("no map", "7", 0),
        ]
        for (name, value, count) in rows {
            let record = try JSON.parsePlain(Bytes(#"{"x":\#(value)}"#))
            let typed = try? JSON.parse(Bytes(#"{"x":\#(value)}"#))
            #expect((typed ?? record).blobCIDs.count == count, "\(name)")
        }
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let blob: String
        let reason: BlobError.Reason
        init(_ name: String, _ blob: String, _ reason: BlobError.Reason) {
            testDescription = name
            self.blob = blob
            self.reason = reason
        }
    }

    static let refusals: [Refusal] = [
        Refusal("J009 size -1", blob(size: "-1"), .size),
        Refusal("J009 size 0", blob(size: "0"), .size),
        Refusal("J009 codec dag-cbor", blob(ref: #"{"$link":"\#(block)"}"#), .reference),
        Refusal("J009 mime of nothing", blob(mime: ""), .mimeType),
        Refusal("J009 mime with CR LF", blob(mime: #"text/html\r\nX: y"#), .mimeType),
        Refusal("mime without a slash", blob(mime: "image"), .mimeType),
        Refusal("mime without a subtype", blob(mime: "image/"), .mimeType),
        Refusal("mime with two slashes", blob(mime: "a/b/c"), .mimeType),
        Refusal("mime with a letter that is no ASCII", blob(mime: "image/é"), .mimeType),
        Refusal("mime of 513 bytes", blob(mime: "a/" + String(repeating: "b", count: 511)), .mimeType),
        Refusal("size as text", blob(size: "\"7\""), .size),
        Refusal("ref as text", blob(ref: "\"\(raw)\""), .reference),
        Refusal("no ref", #"{"$type":"blob","mimeType":"a/b","size":1}"#, .reference),
        Refusal("no mime", #"{"$type":"blob","ref":{"$link":"\#(raw)"},"size":1}"#, .mimeType),
        Refusal("no size", #"{"$type":"blob","ref":{"$link":"\#(raw)"},"mimeType":"a/b"}"#, .size),
        Refusal("legacy", #"{"cid":"\#(raw)","mimeType":"image/png"}"#, .legacy),
    ]

    @Test("refused, with the place", arguments: refusals)
    func refused(_ row: Refusal) throws {
        let record = try JSON.parse(Bytes(#"{"em":{"list":[1,\#(Self.blob()),{"image":\#(row.blob)}]}}"#))
        let error = #expect(throws: BlobError.self) { try record.blobReferences }
        #expect(error?.reason == row.reason)
        #expect(error?.path == "em/list/2/image")
    }

    @Test("what looks like a blob and isn't meant to be one")
    func notBlobs() throws {
        let record = try JSON.parse(
            #"{"a":{"$type":"blobs","size":-1},"b":{"cid":"x","mimeType":"y","z":1},"c":{"cid":1,"mimeType":"x"}}"#)
        #expect(try record.blobReferences.isEmpty)
    }

    @Test("parameters are part of a media type")
    func parameters() {
        #expect(BlobReference.isMimeType("text/plain; charset=utf-8"))
        #expect(BlobReference.isMimeType("application/vnd.oasis.opendocument.text"))
        #expect(!BlobReference.isMimeType(" /x"))
        #expect(!BlobReference.isMimeType("; charset=a/b"))
    }
}
