import Base
import Testing

@testable import Net

/// A client's frame with any header bits: what `WebSocketFrame` would never make.
private func frame(
    _ first: UInt8, _ payload: [UInt8] = [], mask: [UInt8]? = [1, 2, 3, 4], length: [UInt8]? = nil
) -> [UInt8] {
    var out = [first]
    let bit: UInt8 = mask == nil ? 0 : 0x80
    if let length {
        out.append(length[0] | bit)
        out += length.dropFirst()
    } else if payload.count < 126 {
        out.append(UInt8(payload.count) | bit)
    } else {
        out += [126 | bit, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    }
    guard let mask else { return out + payload }
    return out + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
}

private func text(_ string: String) -> [UInt8] { Array(string.utf8) }

@Suite struct WebSocketFramesTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let expected: Result<[WebSocketEvent], WebSocketError>
    }

    static func good(_ name: String, _ bytes: [UInt8], _ events: [WebSocketEvent]) -> Row {
        Row(testDescription: name, bytes: bytes, expected: .success(events))
    }
    static func bad(_ name: String, _ bytes: [UInt8], _ error: WebSocketError = .protocolError) -> Row {
        Row(testDescription: name, bytes: bytes, expected: .failure(error))
    }

    static let rows: [Row] = [
        good("nothing", [], []),
        good("half a header", [0x82], []),
        good("text", frame(0x81, text("hé")), [.text("hé")]),
        good("empty text", frame(0x81), [.text("")]),
        good("binary", frame(0x82, [0, 255]), [.binary(Bytes([0, 255]))]),
        good(
            "16 bits of length", frame(0x82, [UInt8](repeating: 7, count: 300)),
            [.binary(Bytes([UInt8](repeating: 7, count: 300)))]),
        good(
            "exactly the limit", frame(0x82, [UInt8](repeating: 7, count: 1_000)),
            [.binary(Bytes([UInt8](repeating: 7, count: 1_000)))]),
        good("fragments", frame(0x01, text("a")) + frame(0x00, text("b")) + frame(0x80, text("c")), [.text("abc")]),
        good(
            "a ping between fragments", frame(0x02, text("a")) + frame(0x89, text("p")) + frame(0x80, text("b")),
            [.ping("p"), .binary("ab")]),
        good("a character across fragments", frame(0x01, [0xC3]) + frame(0x80, [0xA9]), [.text("é")]),
        good("pong", frame(0x8A, text("x")), [.pong("x")]),
        good(
            "ping of 125 bytes", frame(0x89, [UInt8](repeating: 1, count: 125)),
            [.ping(Bytes([UInt8](repeating: 1, count: 125)))]),
        good("close without code", frame(0x88), [.close(code: nil)]),
        good("close 1000", frame(0x88, [0x03, 0xE8]), [.close(code: 1_000)]),
        good("close 4999 with reason", frame(0x88, [0x13, 0x87] + text("bye")), [.close(code: 4_999)]),
        good("nothing is read after close", frame(0x88) + frame(0xF7), [.close(code: nil)]),
        bad("unmasked", frame(0x81, text("a"), mask: nil)),
        bad("reserved bit 1", frame(0xC1, text("a"))),
        bad("reserved bit 2", frame(0xA1, text("a"))),
        bad("reserved bit 3", frame(0x91, text("a"))),
        bad("opcode 3", frame(0x83, text("a"))),
        bad("opcode 7", frame(0x87)),
        bad("opcode 11", frame(0x8B)),
        bad("opcode 15", frame(0x8F)),
        bad("continuation of nothing", frame(0x80, text("a"))),
        bad("continuation after a whole message", frame(0x81, text("a")) + frame(0x80, text("b"))),
        bad("text inside fragments", frame(0x01, text("a")) + frame(0x81, text("b"))),
        bad("binary inside fragments", frame(0x02, text("a")) + frame(0x02, text("b"))),
        bad("fragmented ping", frame(0x09, text("a"))),
        bad("fragmented close", frame(0x08)),
        bad("ping of 126 bytes", frame(0x89, [UInt8](repeating: 1, count: 126))),
        bad("length 5 in 16 bits", frame(0x82, text("hello"), length: [126, 0, 5])),
        bad("length 5 in 64 bits", frame(0x82, text("hello"), length: [127, 0, 0, 0, 0, 0, 0, 0, 5])),
        bad("length with the top bit", frame(0x82, text("hello"), length: [127, 0x80, 0, 0, 0, 0, 0, 0, 5])),
        bad("one byte over the limit", frame(0x82, [UInt8](repeating: 7, count: 1_001)), .tooBig),
        bad("2^62 bytes declared", frame(0x82, [1], length: [127, 0x40, 0, 0, 0, 0, 0, 0, 0]), .tooBig),
        bad(
            "over the limit by fragments",
            frame(0x02, [UInt8](repeating: 7, count: 600)) + frame(0x80, [UInt8](repeating: 7, count: 401)), .tooBig),
        bad("fragments without end", frame(0x02) + [[UInt8]](repeating: frame(0x00), count: 1_024).joined(), .tooBig),
        bad("text that isn't UTF-8", frame(0x81, [0xFF]), .invalidPayload),
        bad("a surrogate", frame(0x81, [0xED, 0xA0, 0x80]), .invalidPayload),
        bad("close of one byte", frame(0x88, [3])),
        bad("close 999", frame(0x88, [0x03, 0xE7])),
        bad("close 1004", frame(0x88, [0x03, 0xEC])),
        bad("close 1005", frame(0x88, [0x03, 0xED])),
        bad("close 1006", frame(0x88, [0x03, 0xEE])),
        bad("close 1015", frame(0x88, [0x03, 0xF7])),
        bad("close 2999", frame(0x88, [0x0B, 0xB7])),
        bad("close 5000", frame(0x88, [0x13, 0x88])),
        bad("close reason that isn't UTF-8", frame(0x88, [0x03, 0xE8, 0xC0]), .invalidPayload),
        bad("HTTP", text("GET / HTTP/1.1\r\n\r\n")),
    ]

    @Test(arguments: rows) func atOnce(_ row: Row) {
        let frames = WebSocketFrames(.server, messageSizeMax: 1_000)
        let result = Result { () throws(WebSocketError) -> [WebSocketEvent] in try frames.feed(row.bytes) }
        #expect(result == row.expected)
    }

    @Test(arguments: rows) func byteByByte(_ row: Row) {
        let frames = WebSocketFrames(.server, messageSizeMax: 1_000)
        let result = Result { () throws(WebSocketError) -> [WebSocketEvent] in
            var events: [WebSocketEvent] = []
            for byte in row.bytes { events += try frames.feed([byte]) }
            return events
        }
        #expect(result == row.expected)
    }

    @Test func afterAnErrorComesTheSameError() {
        let frames = WebSocketFrames(.server, messageSizeMax: 1_000)
        #expect(throws: WebSocketError.protocolError) { try frames.feed(frame(0xF1)) }
        #expect(throws: WebSocketError.protocolError) { try frames.feed(frame(0x81, text("a"))) }
    }

    @Test func aClientTakesUnmaskedFramesOnly() throws {
        #expect(
            try WebSocketFrames(.client, messageSizeMax: 10).feed(frame(0x82, [1], mask: nil)) == [.binary(Bytes([1]))])
        #expect(throws: WebSocketError.protocolError) {
            try WebSocketFrames(.client, messageSizeMax: 10).feed(frame(0x82, [1]))
        }
    }

    @Test(arguments: [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
    func whatIsEncodedIsDecoded(_ count: Int) throws {
        let payload = Bytes([UInt8]((0..<count).map { UInt8(truncatingIfNeeded: $0) }))
        let server = WebSocketFrame.encode(.binary, payload)
        let client = WebSocketFrame.encode(.binary, payload, mask: (9, 8, 7, 6))
        #expect(try WebSocketFrames(.client, messageSizeMax: count).feed(server) == [.binary(payload)])
        #expect(try WebSocketFrames(.server, messageSizeMax: count).feed(client) == [.binary(payload)])
    }

    /// Noise, and good streams with bytes changed: never a trap, and the same events however the bytes are cut.
    @Test func noise() {
        var state: UInt64 = 0x2545_F491_4F6C_DD1D
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        for _ in 0..<20_000 {
            var bytes = Self.rows[next(Self.rows.count)].bytes + Self.rows[next(Self.rows.count)].bytes
            for _ in 0..<next(4) where !bytes.isEmpty { bytes[next(bytes.count)] = UInt8(next(256)) }
            let whole = WebSocketFrames(.server, messageSizeMax: 1_000)
            var all: [WebSocketEvent] = []
            let wholeFailed = Result { () throws(WebSocketError) in all = try whole.feed(bytes) }
            let cut = WebSocketFrames(.server, messageSizeMax: 1_000)
            var pieces: [WebSocketEvent] = []
            let cutFailed = Result { () throws(WebSocketError) in
                var position = 0
                while position < bytes.count {
                    let end = min(bytes.count, position + 1 + next(40))
                    pieces += try cut.feed(Array(bytes[position..<end]))
                    position = end
                }
            }
            switch (wholeFailed, cutFailed) {
            case (.success, .success): #expect(all == pieces)
            case (.failure(let left), .failure(let right)): #expect(left == right)
            default: Issue.record("\(bytes)")
            }
        }
    }
}

@Suite struct HandshakeTests {
    static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    static let good =
        "GET /xrpc/x?cursor=1&a=b HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n"
        + "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(key)\r\n\r\n"

    @Test func acceptOfTheStandard() {
        // RFC 6455 §1.3
        #expect(WebSocketHandshake.accept(key: Bytes(Self.key)) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test func request() throws {
        let request = try HandshakeRequest(Bytes(Self.good))
        #expect(request.method == "GET")
        #expect(request.path == "/xrpc/x")
        #expect(request.query == "cursor=1&a=b")
        #expect(request.upgrade == .webSocket(key: Bytes(Self.key)))
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let replacing: String
        let with: String
        let expected: Result<HandshakeRequest.Upgrade, HandshakeRequest.Fault>
        init(
            _ name: String, _ replacing: String, _ with: String,
            _ expected: Result<HandshakeRequest.Upgrade, HandshakeRequest.Fault>
        ) {
            testDescription = name
            self.replacing = replacing
            self.with = with
            self.expected = expected
        }
    }

    static let valid = HandshakeRequest.Upgrade.webSocket(key: Bytes(key))
    static let rows: [Row] = [
        Row("names and tokens in any case", "Upgrade: websocket", "UPGRADE: WebSocket", .success(valid)),
        Row(
            "an extension is offered", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            .success(valid)),
        Row("tabs and spaces", "Host: a", "Host:\t  a", .success(valid)),
        Row("length 0", "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", .success(valid)),
        Row("a list", "Upgrade: websocket", "Upgrade: h2c, websocket", .success(valid)),
        Row("no upgrade", "Upgrade: websocket\r\n", "", .success(.none)),
        Row("another upgrade", "Upgrade: websocket", "Upgrade: h2c", .success(.none)),
        Row("Connection without it", "keep-alive, Upgrade", "keep-alive", .success(.none)),
        Row("HTTP/1.0, as a proxy without its setting speaks", "HTTP/1.1", "HTTP/1.0", .success(.none)),
        Row("version 8", "Version: 13", "Version: 8", .success(.otherVersion)),
        Row("no version", "Sec-WebSocket-Version: 13\r\n", "", .success(.otherVersion)),
        Row("no key", "Sec-WebSocket-Key: \(key)\r\n", "", .success(.invalid)),
        Row("a short key", key, "AAAA", .success(.invalid)),
        Row("a key of 17 bytes", key, "AAAAAAAAAAAAAAAAAAAAAAA=", .success(.invalid)),
        Row("no host", "Host: a.example\r\n", "", .success(.invalid)),
        Row("two keys", "\r\n\r\n", "\r\nSec-WebSocket-Key: \(key)\r\n\r\n", .failure(.malformed)),
        Row("two hosts", "\r\n\r\n", "\r\nhost: b\r\n\r\n", .failure(.malformed)),
        Row("a body", "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", .failure(.malformed)),
        Row("a chunked body", "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", .failure(.malformed)),
        Row("HTTP/2.0", "HTTP/1.1", "HTTP/2.0", .failure(.malformed)),
        Row("HTTP/1.1 in small letters", "HTTP/1.1", "http/1.1", .failure(.malformed)),
        Row("no version word", " HTTP/1.1", "", .failure(.malformed)),
        Row("two spaces", "GET /", "GET  /", .failure(.malformed)),
        Row("absolute form", "GET /", "GET http://a/", .failure(.malformed)),
        Row("NUL", "a.example", "a\0", .failure(.malformed)),
        Row("bare LF", "a.example\r\n", "a.example\n", .failure(.malformed)),
        Row("bare CR", "a.example", "a\rb", .failure(.malformed)),
        Row("folded", "a.example", "a\r\n b", .failure(.malformed)),
        Row("space before the colon", "Host:", "Host :", .failure(.malformed)),
        Row("no colon", "Host: a.example", "Host", .failure(.malformed)),
        Row("empty name", "Host:", ":", .failure(.malformed)),
        Row("65 fields", "\r\n\r\n", String(repeating: "\r\na: b", count: 60) + "\r\n\r\n", .failure(.tooLarge)),
        Row("not ended", "\r\n\r\n", "\r\n", .failure(.malformed)),
        Row("UTF-8 in the target", "/xrpc", "/é", .failure(.malformed)),
    ]

    @Test(arguments: rows) func variations(_ row: Row) {
        let head = Bytes(Self.good.replacing(row.replacing, with: row.with, maxReplacements: 1))
        let result = Result { () throws(HandshakeRequest.Fault) -> HandshakeRequest.Upgrade in
            try HandshakeRequest(head).upgrade
        }
        #expect(result == row.expected)
    }

    @Test func theEndOfAHead() throws {
        #expect(try HandshakeRequest.end(of: []) == nil)
        #expect(try HandshakeRequest.end(of: text("\r\n\r")) == nil)
        #expect(try HandshakeRequest.end(of: text("\r\n\r\n")) == 4)
        #expect(try HandshakeRequest.end(of: text(Self.good) + [1, 2]) == text(Self.good).count)
        #expect(throws: HandshakeRequest.Fault.tooLarge) {
            try HandshakeRequest.end(of: [UInt8](repeating: 0x61, count: HandshakeRequest.sizeMax))
        }
    }

    @Test func theClientsRequestIsTaken() throws {
        let key = try WebSocketHandshake.key(entropy: .system)
        let request = try HandshakeRequest(
            Bytes(WebSocketHandshake.request(host: "a.example", target: "/x?y=z", key: key)))
        #expect(request.upgrade == .webSocket(key: key))
        #expect(WebSocketHandshake.isAccepted(Bytes(WebSocketHandshake.response(key: key)), key: key))
    }

    static let answers: [(String, String, String)] = [
        ("another key", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
        ("200", "101 Switching", "200 Switching"), ("1010", "101 Switching", "1010 Switching"),
        ("no upgrade", "Upgrade: websocket\r\n", ""), ("another upgrade", "Upgrade: websocket", "Upgrade: h2c"),
        ("no connection", "Connection: Upgrade\r\n", ""),
        ("an extension that nobody asked for", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ("a protocol that nobody asked for", "\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ("two accepts", "\r\n\r\n", "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
        ("bare LF", "websocket\r\n", "websocket\n"), ("not ended", "\r\n\r\n", "\r\n"),
    ]

    @Test(arguments: answers) func answersThatAreNotAccepted(_ row: (name: String, replacing: String, with: String)) {
        let head = String(decoding: WebSocketHandshake.response(key: Bytes(Self.key)), as: UTF8.self)
        let changed = head.replacing(row.replacing, with: row.with, maxReplacements: 1)
        #expect(changed != head)
        #expect(!WebSocketHandshake.isAccepted(Bytes(changed), key: Bytes(Self.key)))
    }
}
