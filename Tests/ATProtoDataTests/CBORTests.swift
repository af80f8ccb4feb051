import ATProto
import Base
import Testing

/// Rows C001–C037 of the hostile corpus, and what is good beside them.
@Suite struct CBORTests {
    struct Refusal: Sendable, CustomTestStringConvertible {
        let name: String
        let hex: String
        let reason: CBORError.Reason
        let offset: Int
        var testDescription: String { name }

        init(_ name: String, _ hex: String, _ reason: CBORError.Reason, at offset: Int = 0) {
            self.name = name
            self.hex = hex
            self.reason = reason
            self.offset = offset
        }
    }

    static let digest = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

    static let refusals: [Refusal] = [
        Refusal("C001 one byte for less than 24", "1800", .nonCanonicalLength),
        Refusal("C002 two bytes for one", "190010", .nonCanonicalLength),
        Refusal("C003 bytes", "580161", .nonCanonicalLength),
        Refusal("C004 array", "9800", .nonCanonicalLength),
        Refusal("C005 map", "b800", .nonCanonicalLength),
        Refusal("C006 negative", "3800", .nonCanonicalLength),
        Refusal("C007 eight bytes for 1", "1b0000000000000001", .nonCanonicalLength),
        Refusal("C008 tag 42 in two bytes", "d9002a582500017112 20" + digest, .nonCanonicalLength),
        Refusal("C008b text", "780161", .nonCanonicalLength),
        Refusal("C008c four bytes for two", "1a0000ffff", .nonCanonicalLength),
        Refusal("C008d eight bytes for four", "1b00000000ffffffff", .nonCanonicalLength),
        Refusal("C008e reserved additional information", "1c", .nonCanonicalLength),
        Refusal("C009 indefinite array", "9fff", .indefiniteLength),
        Refusal("C010 indefinite map", "bfff", .indefiniteLength),
        Refusal("C011 indefinite bytes", "5f4161ff", .indefiniteLength),
        Refusal("C012 indefinite text", "7f6161ff", .indefiniteLength),
        Refusal("C012b a break alone", "ff", .indefiniteLength),
        Refusal("C013 float16", "f93c00", .floatNotAllowed),
        Refusal("C014 float32", "fa3f800000", .floatNotAllowed),
        Refusal("C015 float64", "fb3ff8000000000000", .floatNotAllowed),
        Refusal("C016 NaN", "f97e00", .floatNotAllowed),
        Refusal("C016b -0.0", "fb8000000000000000", .floatNotAllowed),
        Refusal("C017 undefined", "f7", .unsupportedSimpleValue),
        Refusal("C018 simple 16", "f0", .unsupportedSimpleValue),
        Refusal("C019 simple 20 in two bytes", "f814", .unsupportedSimpleValue),
        Refusal("C020 duplicate key", "a2616101616102", .mapKeys, at: 4),
        Refusal("C021 unsorted keys", "a2616201616102", .mapKeys, at: 4),
        Refusal("C022 bytewise but not by length", "a262616101616202", .mapKeys, at: 5),
        Refusal("C023 integer key", "a10101", .mapKeys, at: 1),
        Refusal("C023b bytes key", "a1416101", .mapKeys, at: 1),
        Refusal("C024 invalid UTF-8", "61ff", .textNotUTF8),
        Refusal("C025 surrogate", "63eda080", .textNotUTF8),
        Refusal("C026 overlong", "62c080", .textNotUTF8),
        Refusal("C026b past the last scalar", "64f4908080", .textNotUTF8),
        Refusal("C026c cut short", "62c3", .lengthExceedsInput),
        Refusal("C026d cut at the end of the string", "8262c3a961c3", .textNotUTF8, at: 4),
        Refusal("C026e invalid key", "a161ff01", .textNotUTF8, at: 1),
        Refusal("C026f overlong of three", "63e08080", .textNotUTF8),
        Refusal("C026g overlong of four", "64f0808080", .textNotUTF8),
        Refusal("C026h after eight of ASCII", "6a61626364656667 6861ff", .textNotUTF8),
        Refusal("C027 link without 00", "d82a582401711220" + digest, .invalidCID),
        Refusal("C027b link with 01", "d82a58250101711220" + digest, .invalidCID),
        Refusal("C028 link of 00 only", "d82a4100", .invalidCID),
        Refusal("C029 CIDv0", "d82a5823001220" + digest, .invalidCID),
        Refusal("C029b version 2", "d82a58250002711220" + digest, .invalidCID),
        Refusal("C030 truncated digest", "d82a58240001711220" + digest.dropLast(2), .invalidCID),
        Refusal("C031 an extra byte", "d82a58260001711220" + digest + "00", .invalidCID),
        Refusal("C031b version as a varint of two", "d82a5826008100711220" + digest, .invalidCID),
        Refusal("C032 dag-pb", "d82a58250001701220" + digest, .invalidCID),
        Refusal("C032b sha-512", "d82a58450001711340" + digest + digest, .invalidCID),
        Refusal("C032c nested tag", "d82ad82a58250001711220" + digest, .invalidCID),
        Refusal("C032d link over text", "d82a6100", .invalidCID),
        Refusal("C033 tag 0", "c06161", .unsupportedTag),
        Refusal("C033b tag 43", "d82b4100", .unsupportedTag),
        Refusal("C034 array of 2^32-1", "9affffffff0000", .lengthExceedsInput),
        Refusal("C034b array of 2^63", "9b8000000000000000", .lengthExceedsInput),
        Refusal("C034c map of 2^60", "bb1000000000000000", .lengthExceedsInput),
        Refusal("C034d bytes of 2^63", "5b8000000000000000", .lengthExceedsInput),
        Refusal("C034e text of 2^64-1", "7bffffffffffffffff", .lengthExceedsInput),
        Refusal("C034f map with room for half", "a26161", .lengthExceedsInput),
        Refusal("C036 trailing byte", "0000", .trailingData, at: 1),
        Refusal("C036b two objects", "a0a0", .trailingData, at: 1),
        Refusal("C037 2^64-1", "1bffffffffffffffff", .integerOutOfRange),
        Refusal("C037b 2^63", "1b8000000000000000", .integerOutOfRange),
        Refusal("C037c -2^64", "3bffffffffffffffff", .integerOutOfRange),
        Refusal("C037d -2^63-1", "3b8000000000000000", .integerOutOfRange),
        Refusal("nothing", "", .truncated),
        Refusal("a head cut", "19ff", .truncated),
        Refusal("one byte head cut", "18", .truncated),
        Refusal("an element missing", "8201ff", .indefiniteLength, at: 2),
        Refusal("a link cut", "d82a5825000171", .lengthExceedsInput, at: 2),
    ]

    @Test("refused", arguments: refusals)
    func refused(_ row: Refusal) throws {
        let bytes = try Bytes(hex: row.hex)
        #expect(throws: CBORError(row.reason, at: row.offset)) { try DAGCBOR.decode(bytes) }
    }

    static let accepted: [(String, Value)] = [
        ("00", .integer(0)), ("17", .integer(23)), ("1818", .integer(24)), ("19ffff", .integer(65_535)),
        ("1a00010000", .integer(65_536)), ("1b0000000100000000", .integer(4_294_967_296)),
        ("1b7fffffffffffffff", .integer(.max)), ("3b7fffffffffffffff", .integer(.min)), ("20", .integer(-1)),
        ("f4", .bool(false)), ("f5", .bool(true)), ("f6", .null), ("40", .bytes("")), ("60", .text("")),
        ("62c3a9", .text("é")), ("6165", .text("e")), ("64f09f9880", .text("😀")), ("63efbfbf", .text("\u{FFFF}")),
        ("64f48fbfbf", .text("\u{10FFFF}")), ("63ed9fbf", .text("\u{D7FF}")), ("80", .array([])), ("a0", .map([])),
        (
            "a2616202626161f6",
            .map([Value.Entry(key: "b", value: .integer(2)), Value.Entry(key: "aa", value: .null)])
        ),
        ("4361ff00", .bytes(Bytes([0x61, 0xFF, 0]))),
    ]

    @Test("accepted, and written as it was read", arguments: accepted)
    func readsBack(_ hex: String, _ value: Value) throws {
        let bytes = try Bytes(hex: hex)
        #expect(try DAGCBOR.decode(bytes) == value)
        #expect(Bytes(DAGCBOR.encode(value)) == bytes)
    }

    @Test("C035 nesting", arguments: [1, 31, 32])
    func nestingAllowed(_ depth: Int) throws {
        let arrays = [UInt8](repeating: 0x81, count: depth - 1) + [0x80]
        #expect(DAGCBOR.encode(try DAGCBOR.decode(arrays)) == arrays)
    }

    @Test("C035 nesting, too deep", arguments: [33, 1_000, 100_000, 1_000_000])
    func nestingRefused(_ depth: Int) {
        for opener: [UInt8] in [[0x81], [0xA1, 0x61, 0x61]] {
            let count = min(depth, DataLimits.block.blockSizeMax / opener.count)
            let bytes = Bytes([UInt8]((0..<count).map { _ in opener }.joined()) + [0x00])
            #expect(throws: CBORError(.tooDeep, at: 32 * opener.count, limit: 32)) { try DAGCBOR.decode(bytes) }
        }
    }

    @Test("a limit that is asked for is cut to the ceiling")
    func ceiling() {
        var limits = DataLimits(depthMax: .max, blockSizeMax: .max)
        #expect(limits.depthMax == 128)
        limits.depthMax = .max
        let bytes = Bytes([UInt8](repeating: 0x81, count: 10_000_000) + [0])
        #expect(throws: CBORError(.tooDeep, at: 128, limit: 128)) { try DAGCBOR.decode(bytes, limits: limits) }
    }

    @Test("limits are named")
    func limits() throws {
        var limits = DataLimits(containerCountMax: 2, keySizeMax: 2, blockSizeMax: 8)
        #expect(throws: CBORError(.tooManyElements, at: 0, limit: 2)) {
            try DAGCBOR.decode(Bytes([0x83, 0, 0, 0]), limits: limits)
        }
        #expect(throws: CBORError(.tooManyElements, at: 0, limit: 2)) {
            try DAGCBOR.decode(Bytes([0xA3, 0, 0, 0, 0, 0, 0]), limits: limits)
        }
        #expect(throws: CBORError(.keyTooLong, at: 1, limit: 2)) {
            try DAGCBOR.decode(Bytes([0xA1, 0x63, 0x61, 0x61, 0x61, 0]), limits: limits)
        }
        #expect(throws: CBORError(.blockTooLarge, at: 0, limit: 8)) {
            try DAGCBOR.decode(Bytes([UInt8](repeating: 0, count: 9)), limits: limits)
        }
        limits.blockSizeMax = 9
        #expect(throws: CBORError(.trailingData, at: 1)) {
            try DAGCBOR.decode(Bytes([UInt8](repeating: 0, count: 9)), limits: limits)
        }
        #expect(DataLimits.record.blockSizeMax == 1_000_000)
        #expect(CBORError(.tooDeep, at: 3, limit: 32).description == "nesting deeper than 32 at byte 3")
    }

    @Test("C034 a large declared count makes no room")
    func declaredCounts() {
        // 31 arrays that each claim 100,000 elements: allowed by their input, refused at its end.
        var bytes: [UInt8] = []
        for _ in 0..<32 { bytes += [0x9A, 0x00, 0x01, 0x86, 0xA0] }
        bytes += [UInt8](repeating: 0x00, count: 150_000)
        #expect(throws: CBORError(.truncated, at: bytes.count)) { try DAGCBOR.decode(bytes) }
    }

    @Test("a map that was built out of order is written in order, the last of equal keys")
    func encodesSorted() throws {
        let value = Value.map([
            Value.Entry(key: "bb", value: .integer(1)), Value.Entry(key: "a", value: .integer(2)),
            Value.Entry(
                key: "é", value: .map([Value.Entry(key: "z", value: .null), Value.Entry(key: "y", value: .null)])),
            Value.Entry(key: "a", value: .integer(3)), Value.Entry(key: "e\u{301}", value: .integer(4)),
        ])
        let bytes = DAGCBOR.encode(value)
        #expect(Hex.encode(bytes) == Array("a46161036262620162c3a9a26179f6617af66365cc8104".utf8))
        #expect(try DAGCBOR.decode(bytes)["a"] == .integer(3))
    }

    @Test("links")
    func links() throws {
        for codec in [CID.Codec.dagCBOR, .raw] {
            let cid = CID(hashing: Bytes("x"), codec: codec)
            let bytes = DAGCBOR.encode(.array([.link(cid), .null]))
            #expect(try DAGCBOR.decode(bytes) == .array([.link(cid), .null]))
            var writer = CBORWriter()
            writer.array(2)
            writer.link(cid)
            writer.null()
            #expect(writer.out == bytes)
        }
    }
}
