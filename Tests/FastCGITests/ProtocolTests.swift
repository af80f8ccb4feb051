internal import Base
internal import ExchangeSupport
internal import FastCGI
internal import Testing

/// H029: what is not FastCGI, or a part of it that is not served. The connection ends, the thread lives.
@Suite struct ProtocolTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let bytes: [UInt8]
        var testDescription: String { name }
    }

    static let whole = FCGIRecord.pairs(FastCGIDoor.parameters("GET", "/hello"))
    static let end = FCGIRecord(.params).bytes + FCGIRecord(.stdin).bytes

    static let cases: [Case] = [
        Case(name: "nothing", bytes: []),
        Case(name: "half a header", bytes: [1, 1, 0]),
        Case(name: "not FastCGI", bytes: Array("GET / HTTP/1.1\r\nHost: pds.test\r\n\r\n".utf8)),
        Case(name: "version 9", bytes: [9] + FCGIRecord.begin().bytes.dropFirst()),
        Case(name: "no BEGIN_REQUEST", bytes: FCGIRecord(.params, whole).bytes + end),
        Case(name: "request id 0", bytes: FCGIRecord.begin(id: 0).bytes),
        Case(
            name: "role authorizer", bytes: FCGIRecord.begin(role: 2).bytes + FCGIRecord(.params, whole).bytes + end),
        Case(name: "role filter", bytes: FCGIRecord.begin(role: 3).bytes + FCGIRecord(.params, whole).bytes + end),
        Case(name: "role 77", bytes: FCGIRecord.begin(role: 77).bytes + FCGIRecord(.params, whole).bytes + end),
        Case(
            name: "name of 2^31 - 1 bytes",
            bytes: FCGIRecord.begin().bytes + FCGIRecord(.params, [0xFF, 0xFF, 0xFF, 0xFF, 0] + Array("A".utf8)).bytes),
        Case(
            name: "value longer than the stream",
            bytes: FCGIRecord.begin().bytes + FCGIRecord(.params, [1, 90] + Array("Ab".utf8)).bytes + end),
        Case(
            name: "STDIN amid PARAMS, between two pairs",
            bytes: FCGIRecord.begin().bytes + FCGIRecord(.params, whole).bytes + FCGIRecord(.stdin, [0x61]).bytes),
        Case(
            name: "end of the connection amid PARAMS, between two pairs",
            bytes: FCGIRecord.begin().bytes + FCGIRecord(.params, whole).bytes),
        Case(
            name: "ABORT_REQUEST amid PARAMS",
            bytes: FCGIRecord.begin().bytes + FCGIRecord(.params, whole).bytes + FCGIRecord(.abortRequest).bytes),
    ]

    @Test(arguments: cases) func isNotServed(_ item: Case) throws {
        let demo = DemoResponder()
        var configuration = FastCGIConfiguration()
        configuration.threads = 1
        let door = try FastCGIDoor(configuration: configuration, responder: demo.respond)
        let connection = try FCGIConnection(unix: door.path)
        try connection.send(item.bytes)
        connection.finishSending()
        let answer = connection.receive()
        #expect(answer.output.isEmpty)
        #expect(demo.served.value == 0)
        // The only thread serves the next request.
        #expect(try door.exchange(FastCGIDoor.parameters("GET", "/hello")).text == "hello")
        #expect(door.stop() == 0)
    }

    @Test func requestID65535() throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let connection = try FCGIConnection(unix: door.path)
        let id: UInt16 = 65_535
        try connection.send(
            FCGIRecord.begin(id: id).bytes + FCGIRecord.stream(.params, id: id, Self.whole, size: 65_535)
                + FCGIRecord(.stdin, id: id).bytes)
        #expect(connection.receive(id: id).text == "hello")
        #expect(door.stop() == 0)
    }

    @Test func secondRequestOnTheSameConnectionIsRefused() throws {
        let demo = DemoResponder()
        let door = try FastCGIDoor(responder: demo.respond)
        let connection = try FCGIConnection(unix: door.path)
        try connection.send(
            FCGIRecord.begin().bytes + FCGIRecord.begin(id: 2).bytes
                + FCGIRecord.stream(.params, Self.whole, size: 65_535) + FCGIRecord(.stdin).bytes)
        let answer = connection.receive()
        #expect(answer.text == "hello")
        // FCGI_CANT_MPX_CONN
        #expect(answer.others.contains { $0.kind == 3 && $0.id == 2 && $0.content[4] == 1 })
        #expect(demo.served.value == 1)
        #expect(door.stop() == 0)
    }

    @Test func bodyThatBreaksOffIsNotAWholeOne() throws {
        for length in [nil, "10"] {
            let demo = DemoResponder()
            let door = try FastCGIDoor(responder: demo.respond)
            let connection = try FCGIConnection(unix: door.path)
            let parameters = FastCGIDoor.parameters("POST", "/echo", contentLength: length)
            try connection.send(
                FCGIRecord.begin().bytes + FCGIRecord.stream(.params, FCGIRecord.pairs(parameters), size: 65_535)
                    + FCGIRecord(.stdin, Array("12345".utf8)).bytes)
            connection.finishSending()
            let answer = connection.receive()
            #expect(answer.status == 400)
            #expect(answer.text.contains("broke off"))
            #expect(door.stop() == 0)
        }
    }

    @Test func abortAmidTheBodyIsNotItsEnd() throws {
        let door = try FastCGIDoor(responder: DemoResponder().respond)
        let connection = try FCGIConnection(unix: door.path)
        try connection.send(
            FCGIRecord.begin().bytes
                + FCGIRecord.stream(.params, FCGIRecord.pairs(FastCGIDoor.parameters("POST", "/echo")), size: 65_535)
                + FCGIRecord(.stdin, Array("12345".utf8)).bytes + FCGIRecord(.abortRequest).bytes)
        #expect(connection.receive().status == 400)
        #expect(door.stop() == 0)
    }

    @Test func silentPeerIsGivenUp() throws {
        var configuration = FastCGIConfiguration()
        configuration.threads = 1
        configuration.peerTimeoutSeconds = 1
        let door = try FastCGIDoor(configuration: configuration, responder: DemoResponder().respond)
        let silent = try FCGIConnection(unix: door.path)
        try silent.send([1])
        // Waits behind the silent one on the only thread.
        #expect(try door.exchange(FastCGIDoor.parameters("GET", "/hello")).text == "hello")
        #expect(silent.receive().output.isEmpty)
        #expect(door.stop() == 0)
    }

    /// Seeded noise: whatever comes, the thread lives and no request is made of it.
    @Test func noise() throws {
        let demo = DemoResponder()
        var configuration = FastCGIConfiguration()
        configuration.threads = 1
        let door = try FastCGIDoor(configuration: configuration, responder: demo.respond)
        var state: UInt64 = 0x5EED
        func random() -> UInt8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        let good =
            FCGIRecord.begin().bytes + FCGIRecord.stream(.params, Self.whole, size: 20) + FCGIRecord(.stdin).bytes
        for _ in 0..<300 {
            var bytes = good
            for _ in 0..<4 { bytes[(Int(random()) << 8 | Int(random())) % bytes.count] = random() }
            let connection = try FCGIConnection(unix: door.path)
            try? connection.send(bytes)
            connection.finishSending()
            _ = connection.receive()
        }
        #expect(try door.exchange(FastCGIDoor.parameters("GET", "/hello")).text == "hello")
        #expect(door.stop() == 0)
    }
}
