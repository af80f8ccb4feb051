internal import Base
internal import Testing
internal import Web

@Suite struct ConditionalTests {
    static func headers(_ name: Bytes, _ value: Bytes) -> Headers {
        var headers = Headers()
        headers.append(name, value)
        return headers
    }

    struct Tag: CustomTestStringConvertible, Sendable {
        let list: Bytes
        let none: Bool
        let match: Bool
        init(_ list: Bytes, none: Bool, match: Bool) {
            self.list = list
            self.none = none
            self.match = match
        }
        var testDescription: String { String("\(list)".prefix(60)) }
    }

    static let tags: [Tag] = [
        Tag("\"abc\"", none: true, match: true), Tag("*", none: true, match: true),
        Tag("W/\"abc\"", none: true, match: false), Tag("\"x\", \"abc\"", none: true, match: true),
        Tag("\"x\",\"abc\"", none: true, match: true), Tag("\"x\" , W/\"abc\",", none: true, match: false),
        Tag("\"a,b\", \"abc\"", none: true, match: true),
        Tag("abc", none: false, match: false), Tag("\"abc", none: false, match: false),
        Tag("\"ABC\"", none: false, match: false), Tag("\"abcd\"", none: false, match: false),
        Tag("\"\"", none: false, match: false), Tag("w/\"abc\"", none: false, match: false),
        Tag("W/", none: false, match: false), Tag("W", none: false, match: false), Tag("**", none: false, match: false),
        Tag("\"x\" abc", none: false, match: false), Tag("'abc'", none: false, match: false),
        // H027: 64 KB, and ten thousand tags.
        Tag(Bytes([UInt8](repeating: 0x61, count: 65_536)), none: false, match: false),
        Tag(
            Bytes((0..<10_000).map { "\"\($0)\"" }.joined(separator: ",") + ",\"abc\""), none: false, match: false),
        Tag(Bytes([UInt8](repeating: 0x2C, count: 8_000) + Array("\"abc\"".utf8)), none: true, match: true),
    ]

    @Test(arguments: tags) func entityTags(_ item: Tag) throws {
        let tag = try #require(EntityTag("abc"))
        #expect(Conditional.matchesNone(Self.headers("if-none-match", item.list), tag) == item.none)
        #expect(Conditional.matches(Self.headers("if-match", item.list), tag) == item.match)
    }

    @Test func withoutCondition() throws {
        let tag = try #require(EntityTag("abc"))
        #expect(!Conditional.matchesNone(Headers(), tag))
        #expect(Conditional.matches(Headers(), tag))
        for bad: Bytes in ["", "a b", "a\"", "é", "a\n"] { #expect(EntityTag(bad) == nil) }
    }

    struct Part: CustomTestStringConvertible, Sendable {
        let range: Bytes
        let size: Int
        let want: RangeRequest
        let field: String?
        init(_ range: Bytes, of size: Int = 10, _ want: RangeRequest, _ field: String? = nil) {
            self.range = range
            self.size = size
            self.want = want
            self.field = field
        }
        var testDescription: String { String("\(range) of \(size)".prefix(60)) }
    }

    static let parts: [Part] = [
        Part("bytes=0-0", .part(0..<1), "bytes 0-0/10"), Part("bytes=0-9", .part(0..<10), "bytes 0-9/10"),
        Part("bytes=5-", .part(5..<10), "bytes 5-9/10"), Part("bytes=-3", .part(7..<10), "bytes 7-9/10"),
        Part("bytes=-100", .part(0..<10), "bytes 0-9/10"), Part("bytes=8-100", .part(8..<10), "bytes 8-9/10"),
        Part("BYTES=1-2", .part(1..<3), "bytes 1-2/10"),
        Part("bytes=0-18446744073709551616", .part(0..<10), "bytes 0-9/10"),
        Part("bytes=-18446744073709551616", .part(0..<10), "bytes 0-9/10"),
        Part("bytes=0-9223372036854775807", .part(0..<10), "bytes 0-9/10"),
        Part("bytes=10-", .unsatisfiable, "bytes */10"), Part("bytes=-0", .unsatisfiable, "bytes */10"),
        Part("bytes=18446744073709551616-", .unsatisfiable, "bytes */10"),
        Part("bytes=0-0", of: 0, .unsatisfiable, "bytes */0"), Part("bytes=-1", of: 0, .unsatisfiable, "bytes */0"),
        Part("bytes=0-0,1-1", .whole), Part("bytes=3-2", .whole), Part("bytes=", .whole), Part("bytes=-", .whole),
        Part("bytes=a-b", .whole), Part("bytes=+1-2", .whole), Part("bytes= 1-2", .whole), Part("bytes=1-2 ", .whole),
        Part("bytes=1--2", .whole), Part("items=0-1", .whole), Part("", .whole), Part("bytes", .whole),
        Part("bytes=0x1-2", .whole),
        Part(Bytes("bytes=" + (0..<1_000).map { "\($0)-\($0)" }.joined(separator: ",")), .whole),
        Part(Bytes("bytes=" + String(repeating: "0", count: 200) + "-"), .whole),
    ]

    @Test(arguments: parts) func ranges(_ item: Part) {
        let got = RangeRequest(Self.headers("range", item.range), size: item.size, tag: nil)
        #expect(got == item.want)
        #expect(got.contentRange(size: item.size).map { "\($0.bytes)" } == item.field)
    }

    @Test(arguments: [
        ("\"abc\"" as Bytes, true), ("\"abd\"", false), ("W/\"abc\"", false), ("Sat, 21 Nov 2026 00:00:00 GMT", false),
        ("", false), ("*", false),
    ])
    func ifRange(condition: Bytes, holds: Bool) throws {
        var headers = Self.headers("range", "bytes=0-0")
        headers.append("if-range", condition)
        let tag = try #require(EntityTag("abc"))
        #expect(RangeRequest(headers, size: 10, tag: tag) == (holds ? .part(0..<1) : .whole))
        #expect(RangeRequest(headers, size: 10, tag: nil) == .whole)
    }
}
