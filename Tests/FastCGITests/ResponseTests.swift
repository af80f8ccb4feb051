internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Testing
internal import Web

@Suite struct ResponseTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        var method = "GET"
        let target: String
        let status: String
        var length: String?
        var size = 0
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case(name: "bytes", target: "/hello", status: "200 OK", length: "5", size: 5),
        Case(name: "HEAD of bytes", method: "HEAD", target: "/hello", status: "200 OK", length: "5"),
        Case(name: "no bytes", target: "/bytes", status: "200 OK", length: "0"),
        Case(name: "8 KiB + 1", target: "/bytes?n=8193", status: "200 OK", length: "8193", size: 8_193),
        Case(name: "below direct", target: "/bytes?n=32767", status: "200 OK", length: "32767", size: 32_767),
        Case(name: "direct", target: "/bytes?n=32768", status: "200 OK", length: "32768", size: 32_768),
        Case(name: "direct, padded", target: "/bytes?n=65531", status: "200 OK", length: "65531", size: 65_531),
        Case(name: "3 MB + 1", target: "/bytes?n=3000001", status: "200 OK", length: "3000001", size: 3_000_001),
        Case(name: "stream", target: "/stream?n=100", status: "200 OK", size: 100_000),
        Case(
            name: "stream of known length", target: "/sized?m=100&n=100", status: "200 OK", length: "100000",
            size: 100_000),
        Case(
            name: "HEAD of a stream of known length", method: "HEAD", target: "/sized?m=9&n=9", status: "200 OK",
            length: "9000"),
        Case(name: "empty stream", target: "/stream", status: "200 OK"),
        Case(name: "HEAD of a stream", method: "HEAD", target: "/stream?n=100", status: "200 OK"),
        Case(name: "HEAD of a broken stream", method: "HEAD", target: "/broken?n=100", status: "200 OK"),
        Case(name: "204", target: "/empty", status: "204 No Content"),
        Case(name: "304", target: "/unchanged", status: "304 Not Modified"),
        Case(name: "404", target: "/nothing", status: "404 Not Found", length: "13", size: 13),
        Case(name: "refused HEAD", method: "HEAD", target: "/%00", status: "400 Bad Request", length: "92"),
    ]

    @Test(arguments: cases) func written(_ item: Case) throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let answer = try door.exchange(FastCGIDoor.parameters(item.method, item.target))
        #expect(answer.isEnded)
        #expect(answer["Status"] == item.status)
        #expect(answer["Content-Length"] == item.length)
        #expect(answer.body.count == item.size)
        #expect(answer["X-Request-Id"] == "0123456789abcdef0123456789abcdef")
        #expect(door.stop() == 0)
    }

    @Test func fileIsTheWebServers() throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let answer = try door.exchange(FastCGIDoor.parameters("GET", "/file"))
        #expect(answer["X-Accel-Redirect"] == "/internal-blobs/demo")
        #expect(answer["Content-Length"] == nil)
        #expect(answer.body.isEmpty)
        #expect(door.stop() == 0)
    }

    @Test(arguments: [0, 1, 8, 100]) func brokenStreamNeverLooksWhole(pieces: Int) throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let answer = try door.exchange(FastCGIDoor.parameters("GET", "/broken?n=\(pieces)"))
        #expect(!answer.isEnded)
        #expect(answer.isSpoilt)
        #expect(answer.body.count == pieces * 1_000)
        #expect(try door.exchange(FastCGIDoor.parameters("GET", "/hello")).text == "hello")
        #expect(String(decoding: door.metrics.text(), as: UTF8.self).contains("incomplete_total{route=\"demo\"} 1"))
        #expect(door.stop() == 0)
    }

    @Test(arguments: [(10, 9), (10, 11), (10, 0), (0, 1), (100, 50)])
    func streamOfAnotherLengthIsBroken(declared: Int, sent: Int) throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let answer = try door.exchange(FastCGIDoor.parameters("GET", "/sized?m=\(declared)&n=\(sent)"))
        #expect(!answer.isEnded)
        #expect(answer.isSpoilt)
        #expect(answer["Content-Length"] == String(declared * 1_000))
        #expect(answer.body.count == min(declared, sent) * 1_000)
        #expect(door.stop() == 0)
    }

    /// Statuses that are no final ones become 500.
    @Test(arguments: [0, -1, 100, 199, 600, 99_999]) func impossibleStatus(status: Int) throws {
        let door = try FastCGIDoor(responder: { _ in Response(status: status) })
        #expect(try door.exchange(FastCGIDoor.parameters("GET", "/")).status == 500)
        #expect(door.stop() == 0)
    }

    @Test func streamStopsWhenTheClientHasGone() throws {
        let sent = Counter()
        let door = try FastCGIDoor(responder: { _ in
            Response(
                status: 200,
                body: .stream { sink in
                    let piece = [UInt8](repeating: 0x7A, count: 20_000)
                    for _ in 0..<100_000 {
                        try piece.withUnsafeBytes { try sink($0) }
                        sent.add()
                    }
                })
        })
        do {
            let connection = try FCGIConnection(unix: door.path)
            try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/")))
        }
        // Its end is awaited, so the count is final.
        #expect(door.stop() == 0)
        #expect(sent.value < 1_000)
    }

    @Test func logLineHasNoQuery() throws {
        let lines = Guarded<[[UInt8]]>([])
        let log = Log { line in lines.withLock { $0.append(line) } }
        let door = try FastCGIDoor(log: log, responder: DemoResponder().respond)
        _ = try door.exchange(FastCGIDoor.parameters("GET", "/hello?token=secret"))
        _ = try door.exchange(FastCGIDoor.parameters("PUT", "/a b\n?token=secret"))
        #expect(door.stop() == 0)
        let text = lines.withLock { $0 }.map { String(decoding: $0, as: UTF8.self) }
        try #require(text.count == 2)
        #expect(text[0].hasPrefix("info request method=GET path=/hello status=200 bytes=5 us="))
        #expect(text[0].contains(" peer=192.0.2.7 id=0123456789abcdef0123456789abcdef end=complete"))
        #expect(text[1].contains("method=PUT path=\"/a b\\x0a\" status=405"))
        #expect(!text.joined().contains("secret"))
    }

    @Test func metrics() throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        for target in ["/hello", "/hello", "/nothing", "/%00"] {
            _ = try door.exchange(FastCGIDoor.parameters("GET", target))
        }
        #expect(door.stop() == 0)
        let text = String(decoding: door.metrics.text(), as: UTF8.self)
        for line in [
            "skystead_requests_total{route=\"demo\",status=\"2xx\"} 2",
            "skystead_requests_total{route=\"demo\",status=\"4xx\"} 1",
            "skystead_requests_total{route=\"refused\",status=\"4xx\"} 1",
            "skystead_request_duration_seconds_bucket{route=\"demo\",le=\"+Inf\"} 3",
            "skystead_request_duration_seconds_count{route=\"refused\"} 1", "skystead_requests_in_flight 0",
        ] {
            #expect(text.contains(line + "\n"), "\(line)")
        }
    }
}
