import ATProto
import Base
import Foundation
import Testing

@Suite struct JSONWriterTests {
    @Test("commas, nesting, every kind of value")
    func everything() throws {
        let cid = CID(hashing: Bytes("x"))
        var writer = JSONWriter(capacity: 1)
        writer.beginObject()
        writer.key("a")
        writer.integer(-12)
        writer.key("é" as Bytes)
        writer.beginArray()
        writer.bool(true)
        writer.bool(false)
        writer.null()
        writer.string("s")
        writer.string("" as Bytes)
        writer.beginArray()
        writer.endArray()
        writer.beginObject()
        writer.endObject()
        try writer.cbor(Bytes([0x82, 0x01, 0x61, 0x62]))
        writer.value(.bytes(Bytes([1, 2])))
        writer.raw("[1]")
        writer.endArray()
        writer.key("c")
        writer.cid(cid)
        writer.key("l")
        writer.link(cid)
        writer.key("t")
        writer.timestamp(Timestamp(microseconds: 0))
        writer.endObject()
        let text = String(decoding: cid.text, as: UTF8.self)
        let expected =
            #"{"a":-12,"é":[true,false,null,"s","",[],{},[1,"b"],{"$bytes":"AQI"},[1]],"c":"\#(text)","#
            + #""l":{"$link":"\#(text)"},"t":"1970-01-01T00:00:00.000Z"}"#
        #expect(writer.count == expected.utf8.count)
        #expect(Bytes(writer.out) == Bytes(expected))
        #expect(Bytes(writer.finish()) == Bytes(expected))
        #expect(writer.finish().isEmpty)
    }

    static let integers: [Int64] = [
        0, 1, -1, 9, 10, 99, 100, 12_345, 999_999_999_999_999_999, 1_000_000_000_000_000_000, .max, .min, .min + 1,
    ]

    @Test("integers", arguments: integers)
    func writesInteger(_ integer: Int64) throws {
        var writer = JSONWriter()
        writer.integer(integer)
        #expect(writer.finish() == Array(String(integer).utf8))
        var block = CBORWriter()
        block.integer(integer)
        try writer.cbor(Bytes(block.out))
        #expect(writer.finish() == Array(String(integer).utf8))
    }

    @Test("what is escaped, at every place in a string")
    func escapes() throws {
        for byte in (0..<0x20).map({ UInt8($0) }) + [0x22, 0x5C, 0x7F, 0x2F] {
            for before in 0..<18 {
                for after in [0, 1, 7, 8, 9] {
                    let text = [UInt8](repeating: 0x61, count: before) + [byte] + [UInt8](repeating: 0x62, count: after)
                    var writer = JSONWriter()
                    writer.string(text)
                    let json = writer.finish()
                    #expect(try JSON.parse(Bytes(json)) == .text(Bytes(text)))
                    #expect(try JSONDecoder().decode(String.self, from: Data(json)).utf8.elementsEqual(text))
                    var block = CBORWriter()
                    block.array(2)
                    block.text(Bytes(text))
                    block.text("x")
                    try writer.cbor(Bytes(block.out))
                    #expect(writer.finish() == [0x5B] + json + Array(",\"x\"]".utf8))
                }
            }
        }
    }

    @Test("blocks that grow the most")
    func expansion() throws {
        let rows: [[UInt8]] = [
            [0x98, 0xFF] + [UInt8](repeating: 0x40, count: 255), [0x98, 0xFF] + [UInt8](repeating: 0xF4, count: 255),
            [0x78, 0xFF] + [UInt8](repeating: 0, count: 255), [0x58, 0xFF] + [UInt8](repeating: 0xFF, count: 255),
            [0x98, 0xFF] + [UInt8](repeating: 0xA0, count: 255), [0x40], [0x60], [0xA0], [0xF4],
        ]
        for row in rows {
            var writer = JSONWriter(capacity: 1)
            writer.beginArray()
            writer.null()
            try writer.cbor(Bytes(row))
            writer.endArray()
            let value = try DAGCBOR.decode(row)
            #expect(try JSON.parse(Bytes(writer.finish())) == .array([.null, value]))
        }
    }

    static let broken: [(String, String)] = [
        ("nothing", ""), ("cut", "8261"), ("float", "f93c00"), ("text cut", "6261"),
        ("a map with an integer key", "a10101"),
        ("trailing", "0101"), ("too large an integer", "1bffffffffffffffff"), ("undefined", "f7"), ("tag", "c000"),
        ("indefinite", "9f00ff"), ("a count without elements", "9b7fffffffffffffff"), ("half a map", "a16161"),
    ]

    @Test("broken blocks leave the writer as it was", arguments: broken)
    func refuses(_ name: String, _ hex: String) throws {
        var writer = JSONWriter()
        writer.beginArray()
        writer.integer(1)
        let bytes = try Bytes(hex: hex)
        #expect(throws: CBORError.self) { try writer.cbor(bytes) }
        writer.integer(2)
        writer.endArray()
        #expect(writer.finish() == Array("[1,2]".utf8))
    }

    @Test("a million nested arrays are refused")
    func deep() {
        var writer = JSONWriter()
        #expect(throws: CBORError(.tooDeep, at: 128, limit: 128)) {
            try writer.cbor(Bytes([UInt8](repeating: 0x81, count: 1_000_000) + [0]))
        }
    }
}
