import Base
import Net
import Testing

@testable import Stream

/// Reliability row R6: what a cursor means.
@Suite struct CursorTests {
    enum Expected: Sendable, Equatable {
        /// These come first, and then what is new.
        case events([Int])
        /// `#info OutdatedCursor`, and then these.
        case outdated([Int])
        case future
        case badRequest
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let query: String
        let expected: Expected
        var testDescription: String { query.isEmpty ? "none" : query }
        init(_ query: String, _ expected: Expected) {
            self.query = query
            self.expected = expected
        }
    }

    /// Kept: 100, 103, 106, … 130 (numbers may have gaps); 97 and before were pruned.
    static let kept = Array(stride(from: 100, through: 130, by: 3))

    static let rows: [Row] = [
        Row("", .events([])),
        Row("cursor=0", .events(kept)),
        Row("cursor=100", .events(Array(kept.dropFirst()))),
        Row("cursor=99", .events(kept)),
        Row("cursor=101", .events(Array(kept.dropFirst()))),
        Row("cursor=105", .events(Array(kept.dropFirst(2)))),
        Row("cursor=129", .events([130])),
        Row("cursor=130", .events([])),
        Row("cursor=131", .future),
        Row("cursor=1000", .future),
        Row("cursor=9007199254740991", .future),
        Row("cursor=98", .outdated(kept)),
        Row("cursor=97", .outdated(kept)),
        Row("cursor=1", .outdated(kept)),
        Row("cursor=-1", .badRequest),
        Row("cursor=9007199254740992", .badRequest),
        Row("cursor=18446744073709551616", .badRequest),
        Row("cursor=abc", .badRequest),
        Row("cursor=", .badRequest),
        Row("cursor", .badRequest),
        Row("cursor=1.5", .badRequest),
        Row("cursor=1e2", .badRequest),
        Row("cursor=0x10", .badRequest),
        Row("cursor=007", .badRequest),
        Row("cursor=+5", .badRequest),
        Row("cursor=%20100", .badRequest),
        Row("cursor=100&cursor=100", .badRequest),
        Row("cursor=100&cur%73or=103", .badRequest),
        Row("cursor=%", .badRequest),
        Row("cursor=%3130", .events([])),
        Row("other=1", .events([])),
        Row("other=1&cursor=127", .events([130])),
        Row("&&", .events([])),
    ]

    /// With the events in the ring (they came while the server ran), and from the database (they were there before).
    @Test(arguments: rows, [false, true])
    func cursor(_ row: Row, inRing: Bool) throws {
        let source = MemoryEvents()
        if !inRing { source.append(Self.kept) } else { source.append([97]) }
        let server = try RunningServer(source)
        if inRing {
            let witness = try server.subscribe()
            source.append(Self.kept)
            #expect(try witness.seqs(Self.kept.count) == Self.kept)
            source.prune(before: 98)
        }
        let client = try server.connect()
        client.send(Client.request(row.query))
        if row.expected == .badRequest {
            let answer = try client.readAll()
            #expect(answer.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
            #expect(
                answer.contains(#"{"error":"InvalidRequest","message":"cursor must be one non-negative integer."}"#))
            return
        }
        #expect(String(decoding: try client.readHead(), as: UTF8.self).hasPrefix("HTTP/1.1 101 "))
        switch row.expected {
        case .badRequest: break
        case .future:
            // {op: -1}{error: "FutureCursor", message: "Cursor in the future."}
            let head: [UInt8] = [0xA1, 0x62, 0x6F, 0x70, 0x20, 0xA2, 0x65] + Array("error".utf8) + [0x6C]
            let body: [UInt8] = Array("FutureCursor".utf8) + [0x67] + Array("message".utf8) + [0x75]
            let frame = Bytes(head + body + Array("Cursor in the future.".utf8))
            #expect(try client.next() == .binary(frame))
            #expect(try client.next() == .close(code: 1_008))
            #expect(try client.next() == nil)
        case .outdated(let seqs), .events(let seqs):
            if case .outdated = row.expected {
                let expected = Bytes(StreamFrames.outdatedCursor).from(2)
                #expect(try client.next() == .binary(expected))
                // {t: "#info", op: 1}
                #expect(
                    expected.starts(
                        with: Bytes([0xA2, 0x61, 0x74, 0x65]) + "#info" + Bytes([0x62]) + "op" + Bytes([1])))
            }
            source.append([200])
            #expect(try client.seqs(seqs.count + 1) == seqs + [200])
        }
    }

    @Test func anEmptyStore() throws {
        let source = MemoryEvents()
        let server = try RunningServer(source)
        let first = try server.subscribe()
        let second = try server.subscribe("cursor=0")
        let third = try server.connect()
        third.send(Client.request("cursor=1"))
        _ = try third.readHead()
        #expect(try third.next() == .binary(Bytes(StreamFrames.futureCursor).from(2)))
        source.append([5])
        #expect(try first.seqs(1) == [5])
        #expect(try second.seqs(1) == [5])
    }

    /// Everything was pruned: the numbers go on, and an old cursor is told.
    @Test func aPrunedStore() throws {
        let source = MemoryEvents()
        source.append(1...50)
        source.prune(before: 51)
        let server = try RunningServer(source)
        let old = try server.subscribe("cursor=10")
        let current = try server.subscribe("cursor=50")
        #expect(try old.next() == .binary(Bytes(StreamFrames.outdatedCursor).from(2)))
        source.append([51])
        #expect(try old.seqs(1) == [51])
        #expect(try current.seqs(1) == [51])
    }

    @Test func aBrokenStoreIsNoUpgrade() throws {
        let source = MemoryEvents()
        source.append(1...10, quietly: true)
        let server = try RunningServer(source) { $0.tickMilliseconds = 600_000 }
        // Once somebody is subscribed, the first turn of the loop is over: the next read, in the handshake, fails.
        let first = try server.subscribe()
        source.state.withLock { state in
            state.newest = 20
            state.failuresLeft = 1
        }
        let client = try server.connect()
        client.send(Client.request("cursor=15"))
        #expect(try client.readAll().hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
        #expect(try server.subscribe("cursor=8").seqs(2) == [9, 10])
        withExtendedLifetime(first) {}
    }
}
