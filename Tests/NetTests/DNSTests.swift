import Base
import Foundation
import Glibc
import Testing

@testable import Net

/// A name server on loopback, UDP and TCP on one port: for each question the answers that the script makes.
final class LoopbackNameServer: Sendable {
    /// The query and whether it came by TCP; each answer becomes one datagram (or one length-prefixed message).
    typealias Script = @Sendable (_ query: [UInt8], _ isTCP: Bool) -> [[UInt8]]

    let port: Int
    private let udp: Int32
    private let tcp: LoopbackServer
    private let queries = LockedCounter()

    init(_ script: @escaping Script) throws {
        let counter = queries
        tcp = try LoopbackServer { connection in
            while true {
                let head = connection.readBody(2)
                guard head.count == 2 else { return }
                let query = connection.readBody(Int(head[0]) << 8 | Int(head[1]))
                counter.add()
                for answer in script(query, true) {
                    connection.send([UInt8(answer.count >> 8 & 255), UInt8(answer.count & 255)] + answer)
                }
            }
        }
        port = tcp.port
        udp = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port)).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(udp, $0, size) }
        }
        guard bound == 0 else { throw ServerFault() }
        let socket = udp
        Thread.detachNewThread {
            var buffer = [UInt8](repeating: 0, count: 4_096)
            while true {
                var from = sockaddr_in()
                var fromSize = size
                let count = withUnsafeMutablePointer(to: &from) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(socket, &buffer, buffer.count, 0, $0, &fromSize)
                    }
                }
                // A shut-down socket reads as 0 bytes.
                guard count > 0 else { break }
                counter.add()
                for answer in script(Array(buffer[..<count]), false) {
                    _ = withUnsafePointer(to: &from) {
                        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            sendto(socket, answer, answer.count, 0, $0, size)
                        }
                    }
                }
            }
            close(socket)
        }
    }

    deinit { shutdown(udp, Int32(SHUT_RDWR)) }

    var queryCount: Int { queries.value }

    var resolver: DNSResolver {
        var resolver = DNSResolver(servers: [Bytes("127.0.0.1:\(port)")])
        resolver.deadlineMilliseconds = 10_000
        return resolver
    }
}

/// Messages made by hand.
enum Zone {
    static func name(_ text: String) -> [UInt8] {
        text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    static func number(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }

    /// The question of a query: everything after its header (no EDNS is sent).
    static func question(_ query: [UInt8]) -> [UInt8] { Array(query[12...]) }

    static func response(
        _ query: [UInt8], flags: Int = 0x8180, answers: [[UInt8]], id: Int? = nil, question: [UInt8]? = nil
    ) -> [UInt8] {
        let head = id.map { number($0) } ?? Array(query[..<2])
        return head + number(flags) + number(1) + number(answers.count) + number(0) + number(0)
            + (question ?? Self.question(query)) + answers.joined()
    }

    /// Owner 0xC00C is the question's name.
    static func record(owner: [UInt8] = [0xC0, 0x0C], type: Int = 16, kind: Int = 1, _ data: [UInt8]) -> [UInt8] {
        owner + number(type) + number(kind) + [0, 0, 0, 60] + number(data.count) + data
    }

    static func strings(_ texts: String...) -> [UInt8] { texts.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } }
    static func txt(_ texts: String...) -> [UInt8] {
        record(texts.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) })
    }
}

@Suite struct DNSTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let expected: Result<[Bytes], DNSError>
        let script: LoopbackNameServer.Script

        init(
            _ name: String, _ expected: Result<[Bytes], DNSError>, _ script: @escaping LoopbackNameServer.Script
        ) {
            testDescription = name
            self.expected = expected
            self.script = script
        }
    }

    static let name = "_atproto.alice.example"
    static let long = String(repeating: "d", count: 255)

    /// Reliability rows F025 and F030.
    static let rows: [Row] = [
        Row("one text", .success(["did=did:plc:a"])) { query, _ in
            [Zone.response(query, answers: [Zone.txt("did=did:plc:a")])]
        },
        Row("two texts", .success(["did=did:plc:a", "did=did:plc:b"])) { query, _ in
            [Zone.response(query, answers: [Zone.txt("did=did:plc:a"), Zone.txt("did=did:plc:b")])]
        },
        Row("strings of one record are joined", .success([Bytes(long + "did" + "x")])) { query, _ in
            [Zone.response(query, answers: [Zone.txt(long, "did", "", "x")])]
        },
        Row("bytes that are no text", .success([Bytes([0, 255, 10])])) { query, _ in
            [Zone.response(query, answers: [Zone.record([3, 0, 255, 10])])]
        },
        Row("an empty text", .success([""])) { query, _ in [Zone.response(query, answers: [Zone.txt("")])] },
        Row("a record without strings", .success([""])) { query, _ in [Zone.response(query, answers: [Zone.record([])])]
        },
        Row("no such name", .success([])) { query, _ in [Zone.response(query, flags: 0x8183, answers: [])] },
        Row("no texts", .success([])) { query, _ in [Zone.response(query, answers: [])] },
        Row("other types only", .success([])) { query, _ in
            [Zone.response(query, answers: [Zone.record(type: 1, [127, 0, 0, 1])])]
        },
        Row("another class", .success([])) { query, _ in
            [Zone.response(query, answers: [Zone.record(kind: 3, Zone.strings("did=x"))])]
        },
        Row("texts of another name", .success([])) { query, _ in
            [
                Zone.response(
                    query, answers: [Zone.record(owner: Zone.name("_atproto.evil.example"), Zone.strings("did=evil"))])
            ]
        },
        Row("the name in capitals", .success(["x"])) { query, _ in
            [Zone.response(query, answers: [Zone.record(owner: Zone.name(name.uppercased()), Zone.strings("x"))])]
        },
        Row("an alias", .success(["x"])) { query, _ in
            let target = Zone.name("b.example")
            return [
                Zone.response(
                    query, answers: [Zone.record(type: 5, target), Zone.record(owner: target, Zone.strings("x"))])
            ]
        },
        Row("an alias, and a text of a third name", .success([])) { query, _ in
            [
                Zone.response(
                    query,
                    answers: [
                        Zone.record(type: 5, Zone.name("b.example")),
                        Zone.record(owner: Zone.name("c.example"), Zone.strings("x")),
                    ])
            ]
        },
        Row("aliases in a circle", .failure(.malformed)) { query, _ in
            let other = Zone.name("b.example")
            return [
                Zone.response(
                    query, answers: [Zone.record(type: 5, other), Zone.record(owner: other, type: 5, [0xC0, 0x0C])])
            ]
        },
        Row("4,000 aliases", .failure(.malformed)) { query, isTCP in
            guard isTCP else { return [Zone.response(query, flags: 0x8380, answers: [])] }
            var chain = [Zone.record(type: 5, [1, 97, 0])]
            for _ in 0..<4_000 {
                let letter = UInt8(97 + chain.count % 26)
                chain.append(Zone.record(owner: [1, letter, 0], type: 5, [1, letter, 0]))
            }
            return [Zone.response(query, answers: chain)]
        },
        Row("truncated: again by TCP", .success(["by TCP"])) { query, isTCP in
            isTCP
                ? [Zone.response(query, answers: [Zone.txt("by TCP")])]
                : [Zone.response(query, flags: 0x8380, answers: [])]
        },
        Row("40 KB by TCP: too long", .failure(.tooLarge)) { query, isTCP in
            guard isTCP else { return [Zone.response(query, flags: 0x8380, answers: [])] }
            let strings = [[UInt8]](repeating: [255] + Array(long.utf8), count: 160).joined()
            return [Zone.response(query, answers: [Zone.record(Array(strings))])]
        },
        Row("100 records: too many", .failure(.tooLarge)) { query, isTCP in
            guard isTCP else { return [Zone.response(query, flags: 0x8380, answers: [])] }
            return [Zone.response(query, answers: [[UInt8]](repeating: Zone.txt("x"), count: 100))]
        },
        Row("a name that points at itself", .failure(.malformed)) { query, _ in
            let place = 12 + Zone.question(query).count
            let pointer = [UInt8(0xC0 | place >> 8), UInt8(place & 255)]
            return [Zone.response(query, answers: [Zone.record(owner: pointer, Zone.strings("x"))])]
        },
        Row("a name that points forwards", .failure(.malformed)) { query, _ in
            [Zone.response(query, answers: [Zone.record(owner: [0xC0, 0xFF], Zone.strings("x"))])]
        },
        Row("a label of an unknown kind", .failure(.malformed)) { query, _ in
            [Zone.response(query, answers: [Zone.record(owner: [0x41, 0x61, 0], Zone.strings("x"))])]
        },
        Row("data beyond the end", .failure(.malformed)) { query, _ in
            [Zone.response(query, answers: [[0xC0, 0x0C, 0, 16, 0, 1, 0, 0, 0, 60, 0xFF, 0xFF, 1, 0x78]])]
        },
        Row("a string beyond its record", .failure(.malformed)) { query, _ in
            [Zone.response(query, answers: [Zone.record([5, 0x78])])]
        },
        Row("fewer answers than declared", .failure(.malformed)) { query, _ in
            var response = Zone.response(query, answers: [Zone.txt("x")])
            response[7] = 2
            return [response]
        },
        Row("a wrong id, and then the answer", .success(["right"])) { query, _ in
            let id = Int(query[0]) * 256 + Int(query[1]) ^ 1
            return [
                Zone.response(query, answers: [Zone.txt("spoofed")], id: id),
                Zone.response(query, answers: [Zone.txt("right")]),
            ]
        },
        Row("another question, and then the answer", .success(["right"])) { query, _ in
            [
                Zone.response(
                    query, answers: [Zone.txt("spoofed")], question: Zone.name("evil.example") + [0, 16, 0, 1]),
                Zone.response(query, answers: [Zone.txt("right")]),
            ]
        },
        Row("noise, and then the answer", .success(["right"])) { query, _ in
            [[1, 2, 3], Zone.response(query, answers: [Zone.txt("right")])]
        },
        Row("server failure", .failure(.serverFailure)) { query, _ in [Zone.response(query, flags: 0x8182, answers: [])]
        },
        Row("refused", .failure(.serverFailure)) { query, _ in [Zone.response(query, flags: 0x8185, answers: [])] },
        Row("not implemented", .failure(.serverFailure)) { query, _ in
            [Zone.response(query, flags: 0x8184, answers: [])]
        },
        Row("truncated by TCP too", .success([])) { query, _ in [Zone.response(query, flags: 0x8380, answers: [])] },
    ]

    private func outcome(_ resolver: DNSResolver, _ name: Bytes) -> Result<[Bytes], DNSError> {
        Result { () throws(DNSError) -> [Bytes] in try resolver.txt(name) }
    }

    @Test(arguments: rows) func answer(_ row: Row) throws {
        let server = try LoopbackNameServer(row.script)
        #expect(outcome(server.resolver, Bytes(Self.name)) == row.expected)
    }

    @Test func silenceIsATimeout() throws {
        let server = try LoopbackNameServer { _, _ in [] }
        var resolver = server.resolver
        resolver.attemptMilliseconds = 50
        resolver.attempts = 2
        #expect(outcome(resolver, Bytes(Self.name)) == .failure(.timeout))
        #expect(server.queryCount == 2)
    }

    @Test func theDeadlineIsForAllAttempts() throws {
        let server = try LoopbackNameServer { _, _ in [] }
        var resolver = server.resolver
        resolver.attemptMilliseconds = 60_000
        resolver.deadlineMilliseconds = 50
        #expect(outcome(resolver, Bytes(Self.name)) == .failure(.timeout))
    }

    @Test func wrongIdsOnlyAreATimeout() throws {
        let server = try LoopbackNameServer { query, _ in
            [Zone.response(query, answers: [Zone.txt("spoofed")], id: (Int(query[0]) << 8 | Int(query[1])) ^ 0x8000)]
        }
        var resolver = server.resolver
        resolver.attemptMilliseconds = 50
        resolver.attempts = 2
        #expect(outcome(resolver, Bytes(Self.name)) == .failure(.timeout))
    }

    @Test func theSecondServerIsAsked() throws {
        let dead = try LoopbackNameServer { query, _ in [Zone.response(query, flags: 0x8182, answers: [])] }
        let alive = try LoopbackNameServer { query, _ in [Zone.response(query, answers: [Zone.txt("x")])] }
        let resolver = DNSResolver(servers: [Bytes("127.0.0.1:\(dead.port)"), Bytes("127.0.0.1:\(alive.port)")])
        #expect(outcome(resolver, Bytes(Self.name)) == .success(["x"]))
    }

    @Test func theQuestionIsTheName() throws {
        let server = try LoopbackNameServer { query, _ in
            [
                Zone.response(
                    query,
                    answers: [Zone.txt(Hex.encode(Zone.question(query)).map { String(UnicodeScalar($0)) }.joined())])
            ]
        }
        let expected = Bytes(Hex.encode(Zone.name("_atproto.alice.example") + [0, 16, 0, 1]))
        #expect(outcome(server.resolver, "_atproto.alice.example") == .success([expected]))
    }

    @Test func manyThreadsAtOnce() async throws {
        let server = try LoopbackNameServer { query, _ in [Zone.response(query, answers: [Zone.txt("x")])] }
        let resolver = server.resolver
        let answered = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 { group.addTask { (try? resolver.txt("a.example")) == ["x"] } }
            return await group.reduce(0) { $1 ? $0 + 1 : $0 }
        }
        #expect(answered == 50)
    }

    static let badNames: [Bytes] = [
        "", ".", "a..b", ".a", "a.", "a b", "a\0b", "a/b", "é.example", "a\\.b", "*.example",
        Bytes(String(repeating: "a", count: 64) + ".example"), Bytes(String(repeating: "a.", count: 126) + "aa"),
        Bytes("localhost\n"),
    ]

    @Test(arguments: badNames) func namesThatAreNotAsked(_ name: Bytes) throws {
        let server = try LoopbackNameServer { query, _ in [Zone.response(query, answers: [Zone.txt("x")])] }
        #expect(outcome(server.resolver, name) == .failure(.invalidName))
        #expect(server.queryCount == 0)
    }

    @Test(arguments: ["nonsense", "127.0.0.1:99999999", "300.1.1.1", "example.com"])
    func serversThatAreNone(_ server: String) {
        let result = outcome(DNSResolver(servers: [Bytes(server)]), "a.example")
        #expect(result == .failure(.configuration))
    }

    /// Good responses with bytes changed, cut or added: an answer or an error, never a trap.
    @Test func noise() throws {
        var state: UInt64 = 0xD1B5_4A32_D192_ED03
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let query = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + Zone.name(Self.name) + [0, 16, 0, 1]
        let wire = try #require(DNSMessage.wire(Bytes(Self.name)))
        let seeds = Self.rows.flatMap { $0.script(query, true) }.filter { $0.count < 2_000 }
        var outcomes = (answered: 0, failed: 0)
        for _ in 0..<50_000 {
            var message = seeds[next(seeds.count)]
            for _ in 0..<next(4) where !message.isEmpty { message[next(message.count)] = UInt8(next(256)) }
            if next(4) == 0 { message = Array(message.prefix(next(message.count + 1))) }
            if (try? DNSMessage.texts(of: wire, in: message)) != nil {
                outcomes.answered += 1
            } else {
                outcomes.failed += 1
            }
        }
        #expect(outcomes.answered > 1_000)
        #expect(outcomes.failed > 1_000)
    }
}
