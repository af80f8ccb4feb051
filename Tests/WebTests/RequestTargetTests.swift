internal import Base
internal import Testing
internal import Web

@Suite struct RequestTargetTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let path: Bytes
        let error: RequestTargetError?
        init(_ path: Bytes, _ error: RequestTargetError?) {
            self.path = path
            self.error = error
        }
        var testDescription: String { "\(path)" }
    }

    static let cases: [Case] = [
        Case("/", nil), Case("/xrpc/a.b.c", nil), Case("/a/", nil), Case("//", nil), Case("/a%20b", nil),
        Case("/%C3%A9", nil), Case("/é", nil), Case("/...", nil), Case("/.well-known/did.json", nil),
        Case("/a..b/..c", nil),
        Case("/a;..", nil), Case("/a+b", nil), Case("/%25", nil), Case("/%f0%9f%98%80", nil),
        Case("/:@!$&'()*,=~_-", nil),
        Case("", .empty), Case("a", .notAPath), Case("*", .notAPath), Case("http://a/", .notAPath),
        Case("/a b", .control), Case("/a\t", .control), Case("/\u{7f}", .control), Case("/%00", .control),
        Case("/%0A", .control), Case("/%7f", .control), Case("/%1F", .control), Case("/a\u{0}", .control),
        Case("/\\", .backslash), Case("/%5C", .backslash), Case("/%5c..", .backslash),
        Case("/%2F", .encodedSeparator), Case("/a%2fb", .encodedSeparator), Case("/..%2f", .encodedSeparator),
        Case("/.", .dotSegment), Case("/..", .dotSegment), Case("/a/../b", .dotSegment), Case("/a/./b", .dotSegment),
        Case("/%2e", .dotSegment), Case("/.%2E/", .dotSegment), Case("/%2E%2e/a", .dotSegment),
        Case("/..;/", .dotSegment),
        Case("/.;a=b/", .dotSegment), Case("/..;..", .dotSegment), Case("/a/..", .dotSegment),
        Case("/%ff", .notUTF8), Case("/%c0%af", .notUTF8), Case("/%c3", .notUTF8), Case("/%c3/a", .notUTF8),
        Case("/%ed%a0%80", .notUTF8), Case("/%f4%90%80%80", .notUTF8), Case("/%e0%80%80", .notUTF8),
        Case("/%f0%80%80%80", .notUTF8), Case("/%80", .notUTF8), Case("/%f5%80%80%80", .notUTF8),
        Case("/%", .truncatedEscape), Case("/%2", .truncatedEscape), Case("/%zz", .truncatedEscape),
        Case("/%2g", .truncatedEscape), Case("/a#b", .fragment),
        // Decoded once: what comes out is not looked at again.
        Case("/%252e%252e", nil), Case("/%252f", nil), Case("/%2523", nil),
    ]

    @Test(arguments: cases) func check(_ item: Case) {
        var found: RequestTargetError?
        do throws(RequestTargetError) { try RequestTarget.check(path: item.path) } catch { found = error }
        #expect(found == item.error)
    }

    /// A5: every byte, raw and encoded, in three positions: what is accepted is exactly what the rules say.
    @Test(arguments: 0...255) func everyByte(byte: Int) {
        let byte = UInt8(byte)
        let upper = Array("0123456789ABCDEF".utf8)
        let lower = Array("0123456789abcdef".utf8)
        for (prefix, suffix) in [("/", "x"), ("/x", "x"), ("/x", "")] {
            func isValid(_ middle: [UInt8]) -> Bool {
                let path = Bytes(Array(prefix.utf8) + middle + Array(suffix.utf8))
                return (try? RequestTarget.check(path: path)) != nil
            }
            let isText = byte > 0x20 && byte < 0x7F
            let isRawAllowed = isText && byte != 0x5C && byte != 0x25 && byte != 0x23
            #expect(isValid([byte]) == isRawAllowed)
            let isEncodedAllowed = byte >= 0x20 && byte < 0x7F && byte != 0x5C && byte != 0x2F
            for digits in [upper, lower] {
                let escape = [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
                #expect(isValid(escape) == isEncodedAllowed)
                // Encoded twice it is only the text of an escape.
                #expect(isValid(Array("%25".utf8) + escape.dropFirst()))
            }
        }
    }

    struct Split: CustomTestStringConvertible, Sendable {
        let target: Bytes
        let path: Bytes?
        let query: Bytes
        init(_ target: Bytes, _ path: Bytes?, _ query: Bytes = "") {
            self.target = target
            self.path = path
            self.query = query
        }
        var testDescription: String { "\(target)" }
    }

    @Test(arguments: [
        Split("/a?b", "/a", "b"), Split("/a", "/a"), Split("/a?", "/a"), Split("/?a?b", "/", "a?b"),
        Split("/a?../%00%zz", "/a", "../%00%zz"), Split("/a%3Fb", "/a%3Fb"),
        Split("?a", nil), Split("/a?b c", nil), Split("/a?b\n", nil), Split("/a?b#c", nil), Split("/a?\u{7f}", nil),
        Split("/..?a", nil), Split(Bytes([UInt8](repeating: 0x2F, count: RequestTarget.sizeMax + 1)), nil),
        Split(
            Bytes([UInt8](repeating: 0x2F, count: RequestTarget.sizeMax)),
            Bytes([UInt8](repeating: 0x2F, count: RequestTarget.sizeMax))),
    ])
    func split(_ item: Split) {
        let parts = try? RequestTarget.split(item.target)
        #expect(parts?.path == item.path)
        if let parts { #expect(parts.query == item.query) }
    }
}
