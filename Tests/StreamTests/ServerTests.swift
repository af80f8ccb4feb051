import Base
import Foundation
import Glibc
import Net
import Testing

@testable import Stream

@Suite struct HandshakeAnswerTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let request: String
        let status: String
        let contains: String
    }

    static let path = "/xrpc/com.atproto.sync.subscribeRepos"
    static func plain(_ line: String) -> String { line + "\r\nHost: a.example\r\n\r\n" }

    static let rows: [Row] = [
        Row(
            testDescription: "plain GET", request: plain("GET \(path) HTTP/1.1"), status: "426 Upgrade Required",
            contains: "\r\nUpgrade: websocket\r\n"),
        Row(
            testDescription: "plain GET, error", request: plain("GET \(path)?cursor=x HTTP/1.1"),
            status: "426 Upgrade Required", contains: #""error":"UpgradeRequired""#),
        Row(
            testDescription: "HTTP/1.0", request: plain("GET \(path) HTTP/1.0"), status: "426 Upgrade Required",
            contains: "Connection: close, Upgrade\r\n"),
        Row(
            testDescription: "version 8",
            request: Client.request("").replacingOccurrences(of: "Version: 13", with: "Version: 8"),
            status: "426 Upgrade Required", contains: "Sec-WebSocket-Version: 13\r\n"),
        Row(
            testDescription: "POST", request: plain("POST \(path) HTTP/1.1"), status: "405 Method Not Allowed",
            contains: "\r\nAllow: GET\r\n"),
        Row(
            testDescription: "HEAD", request: plain("HEAD \(path) HTTP/1.1"), status: "405 Method Not Allowed",
            contains: "\r\nAllow: GET\r\n"),
        Row(
            testDescription: "another path", request: plain("GET /xrpc/com.atproto.sync.getRepo HTTP/1.1"),
            status: "404 Not Found", contains: #""error":"MethodNotImplemented""#),
        Row(
            testDescription: "the path with a slash", request: plain("GET \(path)/ HTTP/1.1"), status: "404 Not Found",
            contains: ""),
        Row(
            testDescription: "the path encoded", request: plain("GET /xrpc/com.atproto.sync.subscribe%52epos HTTP/1.1"),
            status: "404 Not Found", contains: ""),
        Row(
            testDescription: "no key",
            request: Client.request("").replacingOccurrences(of: "Key: dGhl", with: "Kex: dGhl"),
            status: "400 Bad Request", contains: "key"),
        Row(
            testDescription: "garbage", request: "\u{16}\u{3}\u{1}\r\n\r\n", status: "400 Bad Request",
            contains: "InvalidRequest"),
        Row(
            testDescription: "a body", request: "GET \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            status: "400 Bad Request", contains: ""),
        Row(
            testDescription: "a head of 20 KB",
            request: "GET \(path) HTTP/1.1\r\nA: " + String(repeating: "b", count: 20_000),
            status: "431 Request Header Fields Too Large", contains: ""),
        Row(
            testDescription: "100 fields",
            request: "GET \(path) HTTP/1.1\r\n" + String(repeating: "a: b\r\n", count: 100) + "\r\n",
            status: "431 Request Header Fields Too Large", contains: ""),
    ]

    @Test(arguments: rows) func answer(_ row: Row) throws {
        let server = try RunningServer(MemoryEvents())
        let client = try server.connect()
        client.send(row.request)
        let answer = try client.readAll()
        #expect(answer.hasPrefix("HTTP/1.1 \(row.status)\r\n"), "\(answer)")
        #expect(row.contains.isEmpty || answer.contains(row.contains), "\(answer)")
        let parts = answer.components(separatedBy: "\r\n\r\n")
        #expect(parts.count == 2 && parts[0].contains("Content-Length: \(parts[1].utf8.count)"))
        server.stop()
        #expect(server.control.counters.refusals == 1)
        #expect(server.control.counters.subscribers == 0)
    }

    @Test func byteByByteWithFramesBehindIt() throws {
        let source = MemoryEvents()
        source.append(1...3)
        let server = try RunningServer(source)
        let client = try server.connect()
        for byte in Array(Client.request("cursor=1").utf8) { client.send([byte]) }
        client.send(.ping, "early")
        #expect(String(decoding: try client.readHead(), as: UTF8.self).hasPrefix("HTTP/1.1 101 "))
        var seen: [WebSocketEvent] = []
        for _ in 0..<3 { if let event = try client.next() { seen.append(event) } }
        #expect(seen.contains(.pong("early")))
        #expect(seen.filter { if case .binary = $0 { true } else { false } }.count == 2)
    }

    @Test func theRequestAndAFrameInOneSegment() throws {
        let server = try RunningServer(MemoryEvents())
        let client = try server.connect()
        client.send(Array(Client.request("").utf8) + WebSocketFrame.encode(.ping, "x", mask: (0, 0, 0, 0)))
        _ = try client.readHead()
        #expect(try client.next() == .pong("x"))
    }

    @Test func aSlowHandshakeEnds() throws {
        let server = try RunningServer(MemoryEvents()) { $0.handshakeMilliseconds = 50 }
        let client = try server.connect()
        client.send("GET /xrpc")
        #expect(try client.readAll() == "")
    }

    @Test func halfOpenInTheHandshake() throws {
        let server = try RunningServer(MemoryEvents())
        let client = try server.connect()
        client.send("GET /xrpc")
        shutdown(client.fd, Int32(SHUT_WR))
        #expect(try client.readAll() == "")
    }

    @Test func onlySoMany() throws {
        let server = try RunningServer(MemoryEvents()) { $0.subscribersMax = 2 }
        let first = try server.subscribe()
        let second = try server.subscribe()
        #expect(try server.connect().readAll().hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
        withExtendedLifetime((first, second)) {}
    }
}

@Suite struct SubscriptionTests {
    @Test func everyoneGetsTheSameBytesOfOneRead() throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        let clients = try (0..<40).map { _ in try server.subscribe() }
        // Sizes on both sides of the lengths where a frame's header grows.
        let sizes = [8, 125, 126, 127, 65_535, 65_536, 200_000]
        for (index, size) in sizes.enumerated() { source.append([index + 1], size: size) }
        for client in clients {
            for (index, size) in sizes.enumerated() {
                #expect(try client.next() == .binary(MemoryEvents.event(index + 1, size: size).frame))
            }
        }
        server.stop()
        #expect(source.state.withLock { $0.delivered } == sizes.count)
        #expect(server.control.counters.eventsRead == sizes.count)
    }

    @Test func withoutADoorbell() throws {
        let source = MemoryEvents(rings: false)
        let server = try RunningServer(source)
        let client = try server.subscribe()
        source.append(1...5)
        #expect(try client.seqs(5) == Array(1...5))
    }

    /// 100 subscribers replay 2,000 events: the pages are read once for all of them, give or take.
    @Test func replaysShareTheirReads() throws {
        let source = MemoryEvents()
        source.append(1...2_000, size: 300)
        let server = try RunningServer(source) { $0.ringCountMax = 64 }
        let clients = try (0..<100).map { _ in try server.subscribe("cursor=0") }
        for client in clients { #expect(try client.seqs(2_000) == Array(1...2_000)) }
        source.append([2_001])
        for client in clients { #expect(try client.seqs(1) == [2_001]) }
        server.stop()
        #expect(server.control.counters.historyReads <= 30)
    }

    /// Replay and live at once: nothing is skipped or repeated where the one becomes the other.
    @Test(arguments: [64, 256, 8_192])
    func fromHistoryToLive(_ ringCount: Int) throws {
        let source = MemoryEvents()
        source.append(stride(from: 2, through: 2_000, by: 2))
        let server = try RunningServer(source) { configuration in
            configuration.ringCountMax = ringCount
            configuration.backlogCountMax = 1_000_000
        }
        let expected = Array(stride(from: 2, through: 6_000, by: 2))
        let cursors = [0, 1, 500, 1_001, 1_999, 2_000]
        let clients = try cursors.map { try server.subscribe("cursor=\($0)") }
        let pusher = Thread {
            for start in stride(from: 2_002, through: 6_000, by: 40) {
                source.append(stride(from: start, to: min(start + 40, 6_001), by: 2))
            }
        }
        pusher.start()
        for (cursor, client) in zip(cursors, clients) {
            let wanted = expected.filter { $0 > cursor }
            #expect(try client.seqs(wanted.count) == wanted)
        }
    }

    /// The database is ahead of the ring: what a replay would find there comes once, by the ring.
    @Test func aReplayDoesNotOvertakeTheRing() throws {
        let source = MemoryEvents()
        source.append(1...100, quietly: true)
        let server = try RunningServer(source) { configuration in
            configuration.tickMilliseconds = 600_000
            configuration.ringCountMax = 64
        }
        let first = try server.subscribe()
        source.append(101...150, quietly: true)
        let second = try server.subscribe("cursor=90")
        #expect(try second.seqs(10) == Array(91...100))
        source.append([151])
        #expect(try second.seqs(51) == Array(101...151))
        #expect(try first.seqs(51) == Array(101...151))
    }

    /// A client comes with a number that this process has not read yet.
    @Test func aCursorAheadOfTheRing() throws {
        let source = MemoryEvents()
        source.append(1...10, quietly: true)
        let server = try RunningServer(source) { $0.tickMilliseconds = 600_000 }
        let first = try server.subscribe()
        source.append(11...400, quietly: true)
        let second = try server.subscribe("cursor=390")
        #expect(try second.seqs(10) == Array(391...400))
        #expect(try first.seqs(390) == Array(11...400))
    }

    @Test func resumeAcrossARestart() throws {
        let source = MemoryEvents()
        source.append(1...10)
        let first = try RunningServer(source)
        let client = try first.subscribe("cursor=4")
        #expect(try client.seqs(6) == Array(5...10))
        source.append([11])
        #expect(try client.seqs(1) == [11])
        first.control.stop()
        #expect(try client.next() == .close(code: 1_012))
        #expect(try client.next() == nil)
        shutdown(client.fd, Int32(SHUT_RDWR))
        first.waitForEnd()
        source.append(12...20)
        let second = try RunningServer(source)
        let again = try second.subscribe("cursor=11")
        source.append([21])
        #expect(try again.seqs(10) == Array(12...21))
    }

    @Test func terminationSaysGoodbye() throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        server.control.stopOnTermination()
        let client = try server.subscribe()
        kill(getpid(), SIGTERM)
        #expect(try client.next() == .close(code: 1_012))
        #expect(try client.next() == nil)
        server.waitForEnd()
        #expect(throws: TestFault.self) { try server.connect() }
    }

    @Test func aStoreThatFailsForAWhile() throws {
        let source = MemoryEvents()
        source.append(1...600)
        let server = try RunningServer(source) { $0.ringCountMax = 64 }
        let client = try server.subscribe("cursor=0")
        #expect(try client.seqs(10) == Array(1...10))
        source.state.withLock { $0.failuresLeft = 3 }
        source.append([601])
        #expect(try client.seqs(591) == Array(11...601))
        server.stop()
        #expect(server.control.counters.sourceErrors >= 1)
    }

    @Test func aUnixSocketAndTwoDescriptors() throws {
        let path = NSTemporaryDirectory() + "skystead-stream-\(getpid()).sock"
        let server = try RunningServer(MemoryEvents(), path: path)
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o660)
        server.stop()
        unlink(path)
    }
}

@Suite struct HostileSubscriberTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let code: Int?
    }

    static let rows: [Row] = [
        Row(testDescription: "unmasked", bytes: [0x81, 0x01, 0x61], code: 1_002),
        Row(testDescription: "reserved bit", bytes: [0xC1, 0x81, 0, 0, 0, 0, 0x61], code: 1_002),
        Row(testDescription: "unknown opcode", bytes: [0x83, 0x80, 0, 0, 0, 0], code: 1_002),
        Row(testDescription: "continuation of nothing", bytes: [0x80, 0x80, 0, 0, 0, 0], code: 1_002),
        Row(testDescription: "text that isn't UTF-8", bytes: [0x81, 0x81, 0, 0, 0, 0, 0xFF], code: 1_007),
        Row(
            testDescription: "5 KB of text",
            bytes: WebSocketFrame.encode(.text, Bytes([UInt8](repeating: 0x61, count: 5_000)), mask: (0, 0, 0, 0)),
            code: 1_009),
        Row(
            testDescription: "5 MB declared", bytes: [0x82, 0xFF, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0x61],
            code: 1_009),
        Row(testDescription: "HTTP again", bytes: Array("GET / HTTP/1.1\r\n\r\n".utf8), code: 1_002),
        Row(
            testDescription: "close 1000",
            bytes: WebSocketFrame.encode(.close, Bytes([0x03, 0xE8]), mask: (1, 2, 3, 4)), code: 1_000),
        Row(
            testDescription: "close 4001",
            bytes: WebSocketFrame.encode(.close, Bytes([0x0F, 0xA1]), mask: (1, 2, 3, 4)), code: 4_001),
        Row(
            testDescription: "close without code", bytes: WebSocketFrame.encode(.close, "", mask: (1, 2, 3, 4)),
            code: nil),
        Row(
            testDescription: "close 1005",
            bytes: WebSocketFrame.encode(.close, Bytes([0x03, 0xED]), mask: (1, 2, 3, 4)), code: 1_002),
    ]

    @Test(arguments: rows) func isClosed(_ row: Row) throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        let neighbour = try server.subscribe()
        let client = try server.subscribe()
        client.send(row.bytes)
        #expect(try client.next() == .close(code: row.code))
        #expect(try client.next() == nil)
        source.append([1])
        #expect(try neighbour.seqs(1) == [1])
    }

    @Test func whatIsSaidIsIgnored() throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        let client = try server.subscribe()
        client.send(.text, "hello")
        client.send(.binary, "hello")
        client.send(.pong, "hello")
        client.send(.ping, "p")
        #expect(try client.next() == .pong("p"))
        source.append([1])
        #expect(try client.seqs(1) == [1])
    }

    @Test func tooMuchIsSaid() throws {
        let server = try RunningServer(MemoryEvents()) { configuration in
            configuration.tickMilliseconds = 600_000
            configuration.receivedSizeMax = 10_000
        }
        let client = try server.subscribe()
        for _ in 0..<11
        where !client.send(
            WebSocketFrame.encode(.text, Bytes([UInt8](repeating: 0x61, count: 1_000)), mask: (0, 0, 0, 0)))
        {}
        #expect(try client.next() == .close(code: 1_008))
    }

    @Test func pingsThatNobodyAnswers() throws {
        let server = try RunningServer(MemoryEvents()) { configuration in
            configuration.pingMilliseconds = 30
            configuration.pongMilliseconds = 30
        }
        let client = try server.subscribe()
        #expect(try client.next() == .ping(""))
        #expect(try client.next() == nil)
    }

    @Test func pingsThatAreAnswered() throws {
        let server = try RunningServer(MemoryEvents()) { configuration in
            configuration.pingMilliseconds = 30
            configuration.pongMilliseconds = 5_000
        }
        let client = try server.subscribe()
        for _ in 0..<5 {
            #expect(try client.next() == .ping(""))
            client.send(.pong, "")
        }
    }

    /// A live subscriber that doesn't read while others do.
    @Test func consumerTooSlow() throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        let slow = try server.subscribe("", receiveBuffer: 4_096)
        let fast = try server.subscribe()
        // In steps, so that the fast one is never behind; until the kernel's buffers and the 500 events are full.
        var next = 1
        while server.control.counters.consumersTooSlow == 0 {
            source.append(next..<(next + 50), size: 10_000)
            #expect(try fast.seqs(50) == Array(next..<(next + 50)))
            next += 50
            try #require(next < 100_000)
        }
        var seen: [Int] = []
        var error: Bytes?
        loop: while let event = try slow.next() {
            switch event {
            case .binary(let bytes) where bytes.count == 10_000: seen.append(Client.seq(bytes))
            case .binary(let bytes): error = bytes
            case .close(let code):
                #expect(code == 1_008)
                break loop
            default: continue
            }
        }
        // Whole events without a gap, and then the reason.
        #expect(seen == Array(1..<(1 + seen.count)))
        #expect(error == Bytes(StreamFrames.consumerTooSlow).from(2))
        #expect(server.control.counters.consumersTooSlow == 1)
    }

    /// Whoever catches up reads at its own speed, but must read.
    @Test func aReplayThatStalls() throws {
        let source = MemoryEvents()
        source.append(1...2_000, size: 10_000)
        let server = try RunningServer(source) { configuration in
            configuration.ringCountMax = 64
            configuration.progressMilliseconds = 100
            configuration.goodbyeMilliseconds = 100
        }
        let stalled = try server.subscribe("cursor=0", receiveBuffer: 4_096)
        let reader = try server.subscribe("cursor=0")
        #expect(try reader.seqs(2_000) == Array(1...2_000))
        // Its connection ends although it never reads again: the count says so, and then the stream does.
        while server.control.counters.subscribers > 1 { sched_yield() }
        #expect(server.control.counters.consumersTooSlow == 1)
        withExtendedLifetime(stalled) {}
    }

    @Test func aClientThatVanishes() throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        let neighbour = try server.subscribe()
        for _ in 0..<20 {
            let client = try server.subscribe()
            // A reset rather than an end.
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
        source.append(1...3)
        #expect(try neighbour.seqs(3) == [1, 2, 3])
    }
}
