internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Testing

/// libfcgi leaves an unread body in the connection; with kept connections the next request would be read from it.
@Suite struct SmugglingTests {
    /// A whole FastCGI request that asks for the path `/smuggled` as somebody else.
    static let forged = FastCGIDoor.bytes(
        FastCGIDoor.parameters("GET", "/smuggled").filter { $0.0 != "SKYSTEAD_PEER" }
            + [("SKYSTEAD_PEER", Array("127.0.0.1".utf8))], keep: true)

    static let bodySize = 16_384

    /// The host with each defence; the body goes to a responder that reads none of it.
    @Test(arguments: [false, true]) func unreadBodyIsNeverARequest(keepsConnections: Bool) throws {
        let demo = DemoResponder()
        var configuration = FastCGIConfiguration()
        configuration.threads = 2
        configuration.keepsConnections = keepsConnections
        let door = try FastCGIDoor(configuration: configuration, responder: demo.respond)
        var answered = 0
        for alignment in 0..<Self.forged.count {
            var body = [UInt8](repeating: 0x61, count: alignment)
            while body.count < Self.bodySize { body += Self.forged }
            body = Array(body.prefix(Self.bodySize))
            let connection = try FCGIConnection(unix: door.path)
            try connection.send(
                FastCGIDoor.bytes(
                    FastCGIDoor.parameters("POST", "/ignore", contentLength: String(Self.bodySize)), body: body,
                    keep: true))
            let answer = connection.receive()
            #expect(answer.isEnded)
            #expect(answer.status == 413)
            answered += 1
            // Whatever comes next on this connection must be the answer to what is sent next, or its end.
            guard keepsConnections else {
                #expect(connection.receive().output.isEmpty)
                continue
            }
            try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/hello"), keep: false))
            let next = connection.receive()
            #expect(next.text == "hello")
            answered += 1
        }
        #expect(demo.served.value == answered)
        #expect(door.stop() == 0)
    }

    /// More than is drained: the connection ends after the answer.
    @Test func aLongUnreadBodyClosesAKeptConnection() throws {
        let demo = DemoResponder()
        var configuration = FastCGIConfiguration()
        configuration.keepsConnections = true
        let door = try FastCGIDoor(configuration: configuration, responder: demo.respond)
        let connection = try FCGIConnection(unix: door.path)
        let size = 3 << 20
        let head = FastCGIDoor.parameters("POST", "/ignore", contentLength: String(size))
        // The host may close before all of it is sent: that is the point.
        try? connection.send(FastCGIDoor.bytes(head, body: [UInt8](repeating: 0x61, count: size), keep: true))
        #expect(connection.receive().status == 413)
        #expect(!connection.receive().isEnded)
        #expect(demo.served.value == 1)
        #expect(door.stop() == 0)
    }

    /// A body that nobody reads, several times what a socket holds, from a web server that sends all of it before it
    /// reads the answer (Caddy), and from one that sends no more once the answer is there (nginx). Neither waits: the
    /// host's patience is longer than the test's.
    @Test(arguments: [3 << 20, 64 << 10]) func aLongUnreadBodyDelaysNoAnswer(sent: Int) throws {
        let demo = DemoResponder()
        var configuration = FastCGIConfiguration()
        configuration.peerTimeoutSeconds = 3_600
        let door = try FastCGIDoor(configuration: configuration, responder: demo.respond)
        let connection = try FCGIConnection(unix: door.path)
        let size = 3 << 20
        let whole = FastCGIDoor.bytes(
            FastCGIDoor.parameters("POST", "/ignore", contentLength: String(size)),
            body: [UInt8](repeating: 0x61, count: size), keep: false)
        try connection.send(sent == size ? whole : Array(whole.prefix(sent)))
        let answer = connection.receive()
        #expect(answer.isEnded)
        #expect(answer.status == 413)
        // nginx waits for this even after the end.
        #expect(connection.receive().output.isEmpty)
        #expect(connection.isClosed)
        connection.finishSending()
        #expect(door.stop() == 0)
    }

    @Test func keptConnectionsServeManyRequests() throws {
        let demo = DemoResponder()
        var configuration = FastCGIConfiguration()
        configuration.threads = 1
        configuration.keepsConnections = true
        let door = try FastCGIDoor(configuration: configuration, responder: demo.respond)
        let connection = try FCGIConnection(unix: door.path)
        for count in 1...20 {
            try connection.send(
                FastCGIDoor.bytes(
                    FastCGIDoor.parameters("POST", "/echo", contentLength: "3"), body: Array("abc".utf8), keep: true))
            #expect(connection.receive().text == "abc")
            #expect(demo.served.value == count)
        }
        #expect(door.stop() == 0)
    }

    @Test func aConnectionIsNotKeptWithoutTheSetting() throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let connection = try FCGIConnection(unix: door.path)
        try connection.send(FastCGIDoor.bytes(FastCGIDoor.parameters("GET", "/hello"), keep: true))
        #expect(connection.receive().text == "hello")
        #expect(!connection.receive().isEnded)
        #expect(door.stop() == 0)
    }
}
