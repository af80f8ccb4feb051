import ATProto
import Base
import Testing

/// Rows J001–J008 of the hostile corpus, and what is good beside them.
@Suite struct JSONTests {
    struct Refusal: Sendable, CustomTestStringConvertible {
        let name: String
        let json: Bytes
        let message: String
        var testDescription: String { name }

        init(_ name: String, _ json: Bytes, _ message: String) {
            self.name = name
            self.json = json
            self.message = message
        }
    }

    static let refusals: [Refusal] = [
        Refusal("J001 duplicate key", #"{"a":1,"a":2}"#, "duplicate key a (byte 0)"),
        Refusal("J001b duplicate key by escape", #"{"a":1,"b":0,"\u0061":2}"#, "duplicate key a (byte 0)"),
        Refusal("J001c duplicate key inside", #"[{"b":1,"a":1,"b":2}]"#, "duplicate key b (byte 1)"),
        Refusal("J003 comma at the end of an array", "[1,2,]", "invalid JSON at byte 5"),
        Refusal("J003b comma at the end of an object", #"{"a":1,}"#, "invalid JSON at byte 7"),
        Refusal("J003c byte order mark", Bytes([0xEF, 0xBB, 0xBF, 0x7B, 0x7D]), "invalid JSON at byte 0"),
        Refusal("J003d comment", "[1 /* x */]", "invalid JSON at byte 3"),
        Refusal("J003e NaN", "NaN", "invalid JSON at byte 0"),
        Refusal("J003f leading zero", "01", "invalid JSON at byte 0"),
        Refusal("J003g single quotes", "{'a':1}", "invalid JSON at byte 1"),
        Refusal("J003h negative leading zero", "-01", "invalid JSON at byte 0"),
        Refusal("plus", "+1", "invalid JSON at byte 0"),
        Refusal("minus alone", "-", "invalid JSON at byte 0"),
        Refusal("nothing", "", "invalid JSON at byte 0"),
        Refusal("blanks", " \n", "invalid JSON at byte 2"),
        Refusal("form feed is no blank", "\u{0C}1", "invalid JSON at byte 0"),
        Refusal("two values", "1 2", "invalid JSON at byte 2"),
        Refusal("open array", "[1", "invalid JSON at byte 2"),
        Refusal("open object", #"{"a""#, "invalid JSON at byte 4"),
        Refusal("no colon", #"{"a" 1}"#, "invalid JSON at byte 5"),
        Refusal("key of no text", "{1:2}", "invalid JSON at byte 1"),
        Refusal("wrong bracket", "[1}", "invalid JSON at byte 2"),
        Refusal("half a word", "tru", "invalid JSON at byte 0"),
        Refusal("word in capitals", "True", "invalid JSON at byte 0"),
        Refusal("word with more", "nullx", "invalid JSON at byte 4"),
        Refusal("open string", "\"abcdefghij", "invalid JSON at byte 11"),
        Refusal("raw line feed in a string", "\"a\nb\"", "invalid JSON at byte 2"),
        Refusal("raw NUL after nine bytes", "\"abcdefghi\u{0}\"", "invalid JSON at byte 10"),
        Refusal("unknown escape", #""a\x""#, "invalid JSON at byte 2"),
        Refusal("escape at the end", #""a\"#, "invalid JSON at byte 2"),
        Refusal("three hex digits", #""\u12""#, "invalid JSON at byte 1"),
        Refusal("a sign in hex digits", #""\u+123""#, "invalid JSON at byte 1"),
        Refusal("the byte before 0 in hex digits", #""\u/123""#, "invalid JSON at byte 1"),
        Refusal("the byte after 9 in hex digits", #""\u:123""#, "invalid JSON at byte 1"),
        Refusal("the byte before A in hex digits", #""\u@123""#, "invalid JSON at byte 1"),
        Refusal("G in hex digits", #""\u123G""#, "invalid JSON at byte 1"),
        Refusal("the byte before a in hex digits", #""\u`123""#, "invalid JSON at byte 1"),
        Refusal("g in hex digits", #""\u123g""#, "invalid JSON at byte 1"),
        Refusal("J005 1.0", "1.0", "floats are not allowed (byte 0)"),
        Refusal("J005b 1.5", "[1.5]", "floats are not allowed (byte 1)"),
        Refusal("J005c 1e400", "1e400", "floats are not allowed (byte 0)"),
        Refusal("J005d 1e2", "1E+2", "floats are not allowed (byte 0)"),
        Refusal("J005e -0", "-0", "floats are not allowed (byte 0)"),
        Refusal("J005f 2^63", "9223372036854775808", "integer out of range (byte 0)"),
        Refusal("J005g -2^63-1", "-9223372036854775809", "integer out of range (byte 0)"),
        Refusal("J005h 2^64+1", "18446744073709551617", "integer out of range (byte 0)"),
        Refusal("J005i 100 digits", Bytes(String(repeating: "9", count: 100)), "integer out of range (byte 0)"),
        Refusal("a point and nothing", "1.", "invalid JSON at byte 0"),
        Refusal("an exponent and nothing", "1e", "invalid JSON at byte 0"),
        Refusal("J006 lone high surrogate", #""\ud800""#, "not valid Unicode (byte 1)"),
        Refusal("J006b lone low surrogate", #""x\udc00""#, "not valid Unicode (byte 2)"),
        Refusal("J006c high surrogate twice", #""\ud800\ud800""#, "not valid Unicode (byte 1)"),
        Refusal("J006d high surrogate and a letter", #""\ud800a""#, "not valid Unicode (byte 1)"),
        Refusal("J006e invalid byte", Bytes([0x22, 0xFF, 0x22]), "not valid Unicode (byte 1)"),
        Refusal("J006f encoded surrogate", Bytes([0x22, 0xED, 0xA0, 0x80, 0x22]), "not valid Unicode (byte 1)"),
        Refusal(
            "J006g invalid byte after an escape", Bytes([0x22, 0x5C, 0x6E, 0xC0, 0x80, 0x22]),
            "not valid Unicode (byte 1)"),
        Refusal("J007 empty key", #"{"":1}"#, "empty key (byte 1)"),
        Refusal("J008 link of a number", #"{"a":{"$link":5}}"#, "invalid $link (a, byte 5)"),
        Refusal(
            "J008b link with more", #"{"a":[0,{"$link":"x","y":1}]}"#, "invalid $link (a/1, byte 8)"),
        Refusal("J008c bytes that are no base 64", #"{"a":{"b":{"$bytes":"%%"}}}"#, "invalid $bytes (a/b, byte 10)"),
        Refusal("J008d empty type", #"{"$type":""}"#, "invalid $type (byte 0)"),
        Refusal("J008e type of null", #"{"$type":null}"#, "invalid $type (byte 0)"),
        Refusal("link that is no CID", #"{"$link":"bafy"}"#, "invalid $link (byte 0)"),
        Refusal("bytes of an array", #"{"$bytes":[1,2]}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes with more", #"{"$bytes":"AA","x":1}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes and link", #"{"$bytes":"AA","$link":"x"}"#, "invalid $link (byte 0)"),
        Refusal("bytes of an impossible length", #"{"$bytes":"AAAAA"}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes with a pad bit set", #"{"$bytes":"AB"}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes with half the padding", #"{"$bytes":"AA="}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes with padding only", #"{"$bytes":"===="}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes with too much padding", #"{"$bytes":"A==="}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes in the URL alphabet", #"{"$bytes":"-_-_"}"#, "invalid $bytes (byte 0)"),
        Refusal("bytes with a blank", #"{"$bytes":"AA AA"}"#, "invalid $bytes (byte 0)"),
    ]

    @Test("refused", arguments: refusals)
    func refused(_ row: Refusal) {
        let error = #expect(throws: JSONError.self) { try JSON.parse(row.json) }
        #expect(error?.description == row.message)
    }

    static func entry(_ key: Bytes, _ value: Value) -> Value.Entry { Value.Entry(key: key, value: value) }

    static let accepted: [(Bytes, Value)] = [
        ("0", .integer(0)), (" -1\r\n\t", .integer(-1)), ("9223372036854775807", .integer(.max)),
        ("-9223372036854775808", .integer(.min)), ("9007199254740993", .integer(9_007_199_254_740_993)),
        ("true", .bool(true)), ("[false,null]", .array([.bool(false), .null])), (#""""#, .text("")),
        (#""\"\\\/\b\f\n\r\t""#, .text("\"\\/\u{8}\u{C}\n\r\t")), (#""\u00e9\u0000""#, .text("é\u{0}")),
        (#""\ud83d\ude00\uD7FF""#, .text("😀\u{D7FF}")), ("\"é😀abcdefgh\"", .text("é😀abcdefgh")),
        (#""abcdefghij\nklmnopqrst""#, .text("abcdefghij\nklmnopqrst")), ("{}", .map([])), ("[ ]", .array([])),
        // J002: canonically equal, still two keys.
        ("{\"e\u{301}\":1,\"é\":2}", .map([entry("é", .integer(2)), entry("e\u{301}", .integer(1))])),
        (
            #"{"bb":1,"a":2,"ab":3,"b":4}"#,
            .map([
                entry("a", .integer(2)), entry("b", .integer(4)), entry("ab", .integer(3)), entry("bb", .integer(1)),
            ])
        ),
        (#"{"$bytes":"AA"}"#, .bytes(Bytes([0]))), (#"{"$bytes":"AA=="}"#, .bytes(Bytes([0]))),
        (#"{"$bytes":"AAA="}"#, .bytes(Bytes([0, 0]))), (#"{"$bytes":""}"#, .bytes("")),
        (#"{"$other":1}"#, .map([entry("$other", .integer(1))])),
        (
            #"{"$link":"bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"}"#,
            CID(text: "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity").map { .link($0) } ?? .null
        ),
    ]

    @Test("accepted", arguments: accepted)
    func readsBack(_ json: Bytes, _ value: Value) throws {
        #expect(try JSON.parse(json) == value)
        #expect(try JSON.parse(Bytes(JSON.encode(value))) == value)
        let cbor = DAGCBOR.encode(value)
        #expect(try DAGCBOR.decode(cbor) == value)
        var writer = JSONWriter()
        try writer.cbor(Bytes(cbor))
        #expect(writer.out == JSON.encode(value))
    }

    @Test("without the data model, dollar keys are keys")
    func plain() throws {
        let value = try JSON.parsePlain(#"{"$link":5,"$type":"","":1}"#)
        #expect(value["$link"] == .integer(5))
        #expect(value["$type"] == .text(""))
        #expect(value[""] == .integer(1))
        #expect(throws: JSONError.self) { try JSON.parsePlain(#"{"a":1,"a":2}"#) }
        #expect(throws: JSONError.self) { try JSON.parsePlain("1.0") }
    }

    @Test("whole floats where they are asked for")
    func integralFloats() throws {
        #expect(try JSON.parse("[1.0,-2.00]", integralFloats: true) == .array([.integer(1), .integer(-2)]))
        for json: Bytes in ["1.5", "1e2", "-0.0", "1.0e0", "1.", "1.0x"] {
            #expect(throws: JSONError.self, "\(json)") { try JSON.parse(json, integralFloats: true) }
        }
    }

    @Test("J004 nesting")
    func nesting() throws {
        func arrays(_ depth: Int) -> Bytes {
            Bytes(String(repeating: "[", count: depth) + String(repeating: "]", count: depth))
        }
        #expect(throws: Never.self) { try JSON.parse(arrays(32)) }
        for depth in [33, 100_000] {
            let error = #expect(throws: JSONError.self) { try JSON.parse(arrays(depth)) }
            #expect(error?.description == "nesting deeper than 32 (byte 32)")
        }
        for depth in [33, 100_000] {
            let objects = Bytes(String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth))
            let error = #expect(throws: JSONError.self) { try JSON.parse(objects) }
            #expect(error?.reason == .tooDeep)
            #expect(throws: JSONError.self) { try JSON.parsePlain(objects) }
        }
        // A link and bytes are no containers: 32 arrays around one are as deep as CBOR allows.
        let deep = Bytes(String(repeating: "[", count: 32) + #"{"$bytes":"AA"}"# + String(repeating: "]", count: 32))
        let value = try JSON.parse(deep)
        #expect(try DAGCBOR.decode(DAGCBOR.encode(value)) == value)
        #expect(throws: JSONError.self) { try JSON.parse(deep.description.replacing("$bytes", with: "bytes").bytes) }
        #expect(throws: JSONError.self) { try JSON.parsePlain(deep) }
    }

    @Test("J007 limits")
    func limits() throws {
        let zeros = Bytes("[" + String(repeating: "0,", count: 131_072) + "0]")
        #expect(throws: JSONError.self) { try JSON.parse(zeros) }
        #expect(try JSON.parse(Bytes("[" + String(repeating: "0,", count: 131_071) + "0]")).array?.count == 131_072)
        let key = String(repeating: "k", count: 8_192)
        #expect(throws: Never.self) { try JSON.parse(Bytes("{\"\(key)\":1}")) }
        let error = #expect(throws: JSONError.self) { try JSON.parse(Bytes("{\"\(key)k\":1}")) }
        #expect(error?.description == "key longer than 8192 bytes (byte 1)")
    }

    @Test("many keys in the worst order are sorted, and one twice is found")
    func manyKeys() throws {
        let keys = (0..<20_000).reversed().map { "\"k\($0)\":\($0)" }
        let value = try JSON.parse(Bytes("{" + keys.joined(separator: ",") + "}"))
        let entries = try #require(value.entries)
        #expect(entries.count == 20_000)
        #expect(entries.first?.key == "k0")
        #expect(entries.last?.key == "k19999")
        #expect(try DAGCBOR.decode(DAGCBOR.encode(value)) == value)
        let error = #expect(throws: JSONError.self) {
            try JSON.parse(Bytes("{" + keys.joined(separator: ",") + ",\"k77\":0}"))
        }
        #expect(error?.reason == .duplicateKey("k77"))
    }
}

extension String {
    fileprivate var bytes: Bytes { Bytes(self) }
}
