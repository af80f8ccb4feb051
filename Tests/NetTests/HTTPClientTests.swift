import Base
import Foundation
import Testing

@testable import Net

/// A client for a loopback server, reached as `http://one.test:port/` (and `two.test`).
func loopbackClient(_ server: LoopbackServer) -> HTTPClient {
    var configuration = HTTPClient.Configuration()
    configuration.privateHostsAllowed = [Bytes("one.test:\(server.port)"), Bytes("two.test:\(server.port)")]
    configuration.hostOverrides = ["one.test": "127.0.0.1", "two.test": "127.0.0.1"]
    return HTTPClient(configuration)
}

struct HostileRow: Sendable, CustomTestStringConvertible {
    let name: String
    let expected: Result<String, HTTPClientError>
    let script: @Sendable (Connection) -> Void
    var testDescription: String { name }

    init(_ name: String, _ expected: String, _ script: @escaping @Sendable (Connection) -> Void) {
        self.name = name
        self.expected = .success(expected)
        self.script = script
    }
    init(_ name: String, _ expected: HTTPClientError, _ script: @escaping @Sendable (Connection) -> Void) {
        self.name = name
        self.expected = .failure(expected)
        self.script = script
    }
}

let hostileRows: [HostileRow] = [
    HostileRow("length", "200 hello") { $0.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") },
    HostileRow("chunks", "200 hello") {
        $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
    },
    HostileRow("until close", "200 hello") { $0.send("HTTP/1.0 200 OK\r\n\r\nhello") },
    HostileRow("404 is a response", "404 no") { $0.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno") },
    HostileRow("204", "204 ") { $0.send("HTTP/1.1 204 No Content\r\n\r\n") },
    HostileRow("103 and then 200", "200 ok") {
        $0.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    },
    HostileRow("body of exactly the limit", "200 " + String(repeating: "x", count: 1_000)) {
        $0.send("HTTP/1.0 200 OK\r\n\r\n" + String(repeating: "x", count: 1_000))
    },
    HostileRow("one byte over the limit, until close", .tooLarge) {
        $0.send("HTTP/1.0 200 OK\r\n\r\n" + String(repeating: "x", count: 1_001))
    },
    HostileRow("10 GB declared", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        $0.waitForClose()
    },
    HostileRow("no end, no length", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\n\r\n")
        while $0.send([UInt8](repeating: 0x78, count: 4_096)) {}
    },
    HostileRow("no end, chunked", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while $0.send("64\r\n" + String(repeating: "x", count: 100) + "\r\n") {}
    },
    HostileRow("one byte and then nothing", .timeout) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh")
        $0.waitForClose()
    },
    HostileRow("half a head and then nothing", .timeout) {
        $0.send("HTTP/1.1 200 OK\r\nContent-")
        $0.waitForClose()
    },
    HostileRow("silence", .timeout) { $0.waitForClose() },
    HostileRow("closed at once", .malformedResponse) { _ in },
    HostileRow("no HTTP", .malformedResponse) { $0.send("SSH-2.0-OpenSSH_9.2p1\r\n\r\n") },
    HostileRow("HTTP/0.9", .malformedResponse) { $0.send("<html>hello</html>") },
    HostileRow("length lies: too long", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
    },
    HostileRow("length lies: too short", "200 hel") {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello HTTP/1.1 200 OK\r\n\r\n")
    },
    HostileRow("two lengths", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nhello")
    },
    HostileRow("negative length", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello")
    },
    HostileRow("length over 2^63", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello")
    },
    HostileRow("bad chunk size", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
    },
    HostileRow("chunk size over 2^64", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff1\r\nhello\r\n0\r\n\r\n")
    },
    HostileRow("chunks that break off", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    },
    HostileRow("trailers without end", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        while $0.send("x-trailer: y\r\n") {}
    },
    HostileRow("gzip is not inflated", "200 \u{1}\u{2}") {
        $0.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\u{1}\u{2}")
    },
    HostileRow("64 header fields", "200 ok") {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + String(repeating: "a: b\r\n", count: 63) + "\r\nok")
    },
    HostileRow("65 header fields", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + String(repeating: "a: b\r\n", count: 64) + "\r\nok")
        $0.waitForClose()
    },
    HostileRow("10,000 header fields", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\n" + String(repeating: "a: b\r\n", count: 10_000) + "\r\nok")
    },
    HostileRow("a field of 40 KB", .tooLarge) {
        $0.send("HTTP/1.1 200 OK\r\na: " + String(repeating: "b", count: 40_000) + "\r\n\r\nok")
    },
    HostileRow("100 Continue without end", .tooLarge) {
        while $0.send("HTTP/1.1 100 Continue\r\n\r\n") {}
    },
    HostileRow("NUL in a field", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\na: b\0c\r\nContent-Length: 2\r\n\r\nok")
    },
    HostileRow("a field without colon", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nok")
    },
    HostileRow("a folded field", .malformedResponse) {
        $0.send("HTTP/1.1 200 OK\r\na: b\r\n c\r\nContent-Length: 2\r\n\r\nok")
    },
]

@Suite struct HostileServerTests {
    @Test(arguments: hostileRows)
    func behaviour(_ row: HostileRow) throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            row.script(connection)
        }
        var request = HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"), sizeMax: 1_000)
        request.deadlineMilliseconds = row.expected == .failure(.timeout) ? 300 : 10_000
        let client = loopbackClient(server)
        let result = Result<String, HTTPClientError> { () throws(HTTPClientError) -> String in
            let response = try client.send(request)
            return "\(response.status) " + String(decoding: response.body, as: UTF8.self)
        }
        #expect(result == row.expected)
    }

    @Test func aSlowBodyEndsBeforeTheDeadline() throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nh")
            connection.waitForClose()
        }
        var request = HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"))
        request.deadlineMilliseconds = 600_000
        request.slowSeconds = 1
        let client = loopbackClient(server)
        #expect(throws: HTTPClientError.timeout) { try client.send(request) }
    }

    @Test func nobodyListens() throws {
        let port = try LoopbackServer { _ in }.port
        var configuration = HTTPClient.Configuration()
        configuration.privateHostsAllowed = [Bytes("127.0.0.1:\(port)")]
        let client = HTTPClient(configuration)
        // The listener is closed by its thread some time after the server has gone; refused either way.
        let error = #expect(throws: HTTPClientError.self) {
            try client.send(HTTPRequest(.get, Bytes("http://127.0.0.1:\(port)/")))
        }
        #expect(error == .unreachable || error == .malformedResponse)
    }
}

@Suite struct MessageTests {
    /// What the server read, as the body of its answer.
    private func echo() throws -> LoopbackServer {
        try LoopbackServer { connection in
            while true {
                let head = connection.readHead()
                guard !head.isEmpty else { return }
                var length = 0
                for line in head.components(separatedBy: "\r\n") where line.lowercased().hasPrefix("content-length:") {
                    length = Int(line.dropFirst(15).trimmingCharacters(in: .whitespaces)) ?? 0
                }
                let answer = Array(head.utf8) + connection.readBody(length)
                connection.send("HTTP/1.1 200 OK\r\nX-One: 1\r\nx-one:  2 \r\nContent-Length: \(answer.count)\r\n\r\n")
                connection.send(answer)
            }
        }
    }

    private func lines(_ response: HTTPResponse) -> [String] {
        String(decoding: response.body, as: UTF8.self).components(separatedBy: "\r\n")
    }

    @Test func getSendsNothingOfItself() throws {
        let server = try echo()
        let response = try loopbackClient(server).send(
            HTTPRequest(
                .get, Bytes("http://one.test:\(server.port)/a/../b?c=%2F"), headers: [("X-A", "b"), ("x-e", "")]))
        #expect(
            lines(response) == [
                "GET /a/../b?c=%2F HTTP/1.1", "Host: one.test:\(server.port)", "User-Agent: skystead", "Accept: */*",
                "X-A: b", "x-e:", "", "",
            ])
        #expect(response.headers.map(\.name) == ["x-one", "x-one", "content-length"])
        #expect(response["x-one"] == "1")
        #expect(response.headers[1].value == "2")
    }

    @Test(arguments: [HTTPRequest.Method.post, .put, .delete])
    func bodies(_ method: HTTPRequest.Method) throws {
        let server = try echo()
        let response = try loopbackClient(server).send(
            HTTPRequest(
                method, Bytes("http://one.test:\(server.port)/"), headers: [("Content-Type", "a/b")], body: "x\0y"))
        #expect(lines(response).first == "\(method.rawValue) / HTTP/1.1")
        #expect(lines(response).contains("Content-Length: 3"))
        #expect(lines(response).contains("Content-Type: a/b"))
        #expect(lines(response).last == "x\0y")
    }

    @Test func emptyPostHasALength() throws {
        let server = try echo()
        let response = try loopbackClient(server).send(HTTPRequest(.post, Bytes("http://one.test:\(server.port)/")))
        #expect(lines(response).contains("Content-Length: 0"))
        #expect(!lines(response).contains { $0.hasPrefix("Content-Type") })
    }

    @Test func headHasNoBodyHoweverLongItSaysItIs() throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        }
        let response = try loopbackClient(server).send(HTTPRequest(.head, Bytes("http://one.test:\(server.port)/")))
        #expect(response.status == 200)
        #expect(response.body.isEmpty)
    }

    /// H001 (A1): a proxy that the environment names is not asked. In a process of its own, which has such an environment.
    @Test func noProxyIsAsked() async {
        await #expect(processExitsWith: .success) {
            for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
                setenv(name, "http://127.0.0.1:9", 1)
            }
            let server = try LoopbackServer { connection in
                _ = connection.readHead()
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            }
            let request = HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"))
            #expect(try loopbackClient(server).send(request).status == 200)
            #expect(server.acceptedCount == 1)
        }
    }

    @Test func connectionsAreKept() throws {
        let server = try echo()
        let client = loopbackClient(server)
        for _ in 0..<20 { _ = try client.send(HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"))) }
        #expect(server.acceptedCount == 1)
    }

    @Test func manyThreadsAtOnce() async throws {
        let server = try echo()
        let client = loopbackClient(server)
        let url = Bytes("http://one.test:\(server.port)/")
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<32 {
                group.addTask {
                    let response = try client.send(HTTPRequest(.post, url, body: Bytes("n=\(number)")))
                    return String(decoding: response.body, as: UTF8.self).hasSuffix("n=\(number)") ? 1 : 0
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 32)
    }

    static let unsendable: [(String, Bytes, Bytes)] = [
        ("LF in the value", "x", "a\nb"), ("CR in the value", "x", "a\rb"), ("NUL in the value", "x", "a\0"),
        ("empty name", "", "a"), ("space in the name", "a b", "c"), ("colon in the name", "a:", "c"),
        ("host", "Host", "evil"), ("framing", "transfer-encoding", "chunked"), ("length", "Content-Length", "5"),
    ]

    @Test(arguments: unsendable)
    func headersThatAreNotSent(_ row: (name: String, field: Bytes, value: Bytes)) throws {
        let server = try echo()
        let client = loopbackClient(server)
        #expect(throws: HTTPClientError.invalidRequest) {
            try client.send(
                HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"), headers: [(row.field, row.value)]))
        }
        #expect(server.acceptedCount == 0)
    }
}

/// `open`: the head first, the body when it is asked for.
@Suite struct IncomingTests {
    struct Enough: Error {}

    private func request(_ server: LoopbackServer) -> HTTPRequest {
        var request = HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"))
        request.sizeMax = 10_000_000
        return request
    }

    /// `script` runs after the request's head was read.
    private func server(_ script: @escaping @Sendable (Connection) -> Void) throws -> LoopbackServer {
        try LoopbackServer { connection in
            _ = connection.readHead()
            script(connection)
        }
    }

    @Test func theHeadIsThereBeforeTheBodyIsSent() throws {
        let go = DispatchSemaphore(value: 0)
        let server = try server { connection in
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n")
            go.wait()
            connection.send("hello")
        }
        let incoming = try loopbackClient(server).open(request(server))
        #expect(incoming.head.status == 200)
        #expect(incoming.head["x"] == "y")
        go.signal()
        #expect(try String(decoding: incoming.collect(), as: UTF8.self) == "hello")
    }

    @Test func aBodyThatCameWithTheHeadIsNotLost() throws {
        let text = String(repeating: "x", count: 300_000)
        let server = try server { $0.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + text) }
        let incoming = try loopbackClient(server).open(request(server))
        #expect(try incoming.collect().count == 300_000)
    }

    @Test func aHandleIsGoodForAnotherExchangeAfterAnEndInTheMiddle() throws {
        let server = try server { connection in
            connection.send("HTTP/1.1 200 OK\r\n\r\n")
            while connection.send([UInt8](repeating: 0x78, count: 100_000)) {}
        }
        let client = loopbackClient(server)
        var request = request(server)
        request.sizeMax = 100_000_000
        var count = 0
        var incoming: HTTPIncoming? = try client.open(request)
        #expect(throws: Enough.self) {
            try incoming?.read { piece in
                count += piece.count
                if count > 5_000_000 { throw Enough() }
            }
        }
        #expect(count < 6_000_000)
        incoming = nil
        #expect(throws: Enough.self) { try client.open(request).read { _ in throw Enough() } }
    }

    @Test func whatTheSinkThrowsEndsTheExchange() throws {
        let closed = DispatchSemaphore(value: 0)
        let server = try server { connection in
            connection.send("HTTP/1.1 200 OK\r\n\r\n")
            while connection.send([UInt8](repeating: 0x78, count: 1_000)) {}
            closed.signal()
        }
        var pieces = 0
        #expect(throws: Enough.self) {
            try loopbackClient(server).open(request(server)).read { _ in
                pieces += 1
                if pieces == 2 { throw Enough() }
            }
        }
        #expect(pieces == 2)
        closed.wait()
    }

    @Test func anIncomingThatIsDroppedUnreadClosesItsConnection() throws {
        let closed = DispatchSemaphore(value: 0)
        let server = try server { connection in
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
            connection.waitForClose()
            closed.signal()
        }
        #expect(try loopbackClient(server).open(request(server)).head.status == 200)
        closed.wait()
    }

    static let broken: [HostileRow] = [
        HostileRow("cut short of its length", .malformedResponse) {
            $0.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        },
        HostileRow("cut between chunks", .malformedResponse) {
            $0.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        },
        HostileRow("stalled", .timeout) {
            $0.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
            $0.waitForClose()
        },
        HostileRow("without end", .tooLarge) {
            $0.send("HTTP/1.1 200 OK\r\n\r\n")
            while $0.send([UInt8](repeating: 0x78, count: 4_096)) {}
        },
    ]

    @Test(arguments: broken) func aBrokenBodyIsAnErrorOfTheBody(_ row: HostileRow) throws {
        let server = try server(row.script)
        var request = HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"), sizeMax: 100_000)
        request.slowSeconds = 1
        let incoming = try loopbackClient(server).open(request)
        #expect(incoming.head.status == 200)
        guard case .failure(let expected) = row.expected else { return }
        var count = 0
        #expect(throws: expected) { try incoming.read { count += $0.count } }
        #expect(count >= 5)
    }

    @Test func theHeadHasADeadlineOfItsOwn() throws {
        let server = try server { connection in
            connection.send("HTTP/1.1 200 OK\r\nX-")
            connection.waitForClose()
        }
        var request = request(server)
        request.deadlineMilliseconds = 600_000
        request.slowSeconds = 600
        request.headMilliseconds = 200
        let client = loopbackClient(server)
        #expect(throws: HTTPClientError.timeout) { try client.open(request) }
        request.headMilliseconds = 0
        #expect(throws: HTTPClientError.invalidRequest) { try client.open(request) }
    }

    @Test func aLongURLWantsLeave() throws {
        let server = try server { $0.send("HTTP/1.1 204 No Content\r\n\r\n") }
        let base = "http://one.test:\(server.port)/"
        var request = HTTPRequest(.get, Bytes(base + String(repeating: "x", count: 2_049 - base.utf8.count)))
        let client = loopbackClient(server)
        #expect(throws: HTTPClientError.invalidURL(.malformed)) { try client.send(request) }
        request.urlSizeMax = 2_049
        #expect(try client.send(request).status == 204)
    }
}

@Suite struct RedirectTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let location: String
        let redirects: HTTPRequest.Redirects
        let expected: Result<String, HTTPClientError>
    }

    static func refused(_ name: String, _ location: String, _ redirects: HTTPRequest.Redirects = .followed(max: 3))
        -> Row
    {
        Row(testDescription: name, location: location, redirects: redirects, expected: .failure(.redirectNotAllowed))
    }

    /// `PORT` stands for the server's. `/end` answers, `/n/…` counts down, the rest redirects to the row's location.
    static let rows: [Row] = [
        refused("refused by default", "/end", .refused),
        Row(testDescription: "returned", location: "/end", redirects: .returned, expected: .success("302 moved")),
        Row(testDescription: "relative", location: "end", redirects: .followed(max: 1), expected: .success("200 /end")),
        Row(testDescription: "path", location: "/end#x", redirects: .followed(max: 1), expected: .success("200 /end")),
        Row(
            testDescription: "other host", location: "http://two.test:PORT/end", redirects: .followed(max: 1),
            expected: .success("200 /end")),
        Row(
            testDescription: "three hops", location: "/n/2", redirects: .followed(max: 3),
            expected: .success("200 /end")),
        refused("four hops of three", "/n/3"),
        refused("loop", "/again"),
        refused("to itself", "/"),
        refused("eleven of eleven: ten is the house's limit", "/n/10", .followed(max: 11)),
        refused("to http", "http://good.example.com/"),
        refused("to a private address", "http://127.0.0.1:PORT/end"),
        refused("to another port", "https://good.example.com:8443/"),
        refused("to file", "file:///etc/passwd"),
        refused("to gopher", "gopher://127.0.0.1:PORT/_x"),
        refused("to javascript", "javascript:alert(1)"),
        refused("with a user", "http://user@two.test:PORT/end"),
        refused("backslash", "http:\\\\two.test:PORT\\end"),
        refused("without scheme to a stranger", "//127.0.0.1:PORT/end"),
        refused("space", "/a b"),
        refused("empty host", "http:///end"),
    ]

    @Test(arguments: rows)
    func redirect(_ row: Row) throws {
        let server = try LoopbackServer { connection in
            while true {
                let head = connection.readHead()
                guard !head.isEmpty else { return }
                let path = head.split(separator: " ")[1]
                let host = head.components(separatedBy: "Host: ")[1].components(separatedBy: "\r\n")[0]
                let port = host.components(separatedBy: ":")[1]
                let next: String
                if path == "/end" {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n/end")
                    continue
                } else if path.hasPrefix("/n/"), let count = Int(path.dropFirst(3)) {
                    next = count <= 1 ? "/end" : "/n/\(count - 1)"
                } else {
                    next = row.location.replacingOccurrences(of: "PORT", with: port)
                }
                connection.send("HTTP/1.1 302 Found\r\nLocation: \(next)\r\nContent-Length: 5\r\n\r\nmoved")
            }
        }
        let client = loopbackClient(server)
        let request = HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"), redirects: row.redirects)
        let result = Result<String, HTTPClientError> { () throws(HTTPClientError) -> String in
            let response = try client.send(request)
            return "\(response.status) " + String(decoding: response.body, as: UTF8.self)
        }
        #expect(result == row.expected)
    }

    @Test(arguments: [(301, 0), (307, 0), (308, 0), (303, 0), (300, 300), (304, 304)])
    func statuses(_ row: (status: Int, expected: Int)) throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.send("HTTP/1.1 \(row.status) X\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n")
        }
        let client = loopbackClient(server)
        let status = try? client.send(HTTPRequest(.get, Bytes("http://one.test:\(server.port)/"))).status
        #expect(status == (row.expected == 0 ? nil : row.expected))
    }

    @Test func aPostIsNeverRedirected() throws {
        let server = try LoopbackServer { connection in
            _ = connection.readHead()
            connection.send("HTTP/1.1 307 X\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n")
        }
        let client = loopbackClient(server)
        #expect(throws: HTTPClientError.redirectNotAllowed) {
            try client.send(
                HTTPRequest(.post, Bytes("http://one.test:\(server.port)/"), body: "x", redirects: .followed(max: 3)))
        }
    }

    @Test(arguments: [("one.test", true), ("two.test", false)])
    func credentialsStayWithTheOrigin(_ row: (host: String, isKept: Bool)) throws {
        let server = try LoopbackServer { connection in
            while true {
                let head = connection.readHead()
                guard !head.isEmpty else { return }
                if head.hasPrefix("GET /end") {
                    let answer = head.contains("Authorization: secret") ? "kept" : "lost"
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + answer)
                } else {
                    let port = head.components(separatedBy: "Host: one.test:")[1].components(separatedBy: "\r\n")[0]
                    connection.send(
                        "HTTP/1.1 302 X\r\nLocation: http://\(row.host):\(port)/end\r\nContent-Length: 0\r\n\r\n")
                }
            }
        }
        let response = try loopbackClient(server).send(
            HTTPRequest(
                .get, Bytes("http://one.test:\(server.port)/"), headers: [("Authorization", "secret")],
                redirects: .followed(max: 1)))
        #expect(String(decoding: response.body, as: UTF8.self) == (row.isKept ? "kept" : "lost"))
    }
}
