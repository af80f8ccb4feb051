import Base
import Foundation
import Glibc
import Net
import Synchronization

@testable import Stream

/// Events in memory, behind a lock, with a doorbell, and counts of what was read.
final class MemoryEvents: EventSource, Sendable {
    struct State {
        var events: [StreamEvent] = []
        var newest = 0
        var reads: [Int] = []
        var delivered = 0
        var failuresLeft = 0
    }
    struct Broken: Error {}

    let state = Guarded(State())
    private let pipeEnds: (Int32, Int32)
    let rings: Bool

    /// - Parameter rings: Whether the doorbell works; without it the server must find events by itself.
    init(rings: Bool = true) {
        var ends: [Int32] = [0, 0]
        pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        pipeEnds = (ends[0], ends[1])
        self.rings = rings
    }

    deinit {
        close(pipeEnds.0)
        close(pipeEnds.1)
    }

    /// One event of `size` bytes; its first 8 bytes are its number.
    static func event(_ seq: Int, size: Int = 100) -> StreamEvent {
        var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: seq), count: max(8, size))
        for place in 0..<8 { bytes[place] = UInt8(truncatingIfNeeded: seq >> (8 * (7 - place))) }
        return StreamEvent(seq: seq, frame: Bytes(bytes))
    }

    func append(_ seqs: some Sequence<Int>, size: Int = 100, quietly: Bool = false) {
        state.withLock { state in
            for seq in seqs {
                state.events.append(Self.event(seq, size: size))
                state.newest = seq
            }
        }
        var byte: UInt8 = 1
        if rings, !quietly { _ = write(pipeEnds.1, &byte, 1) }
    }

    func prune(before seq: Int) {
        state.withLock { state in state.events.removeAll { $0.seq < seq } }
    }

    func events(after: Int, limit: Int, sizeMax: Int) throws -> [StreamEvent] {
        try state.withLock { state in
            if state.failuresLeft > 0 {
                state.failuresLeft -= 1
                throw Broken()
            }
            // The numbers ascend: look for the first one by halves.
            var low = 0
            var high = state.events.count
            while low < high {
                let middle = (low + high) / 2
                if state.events[middle].seq <= after { low = middle + 1 } else { high = middle }
            }
            var found: [StreamEvent] = []
            var size = 0
            while low < state.events.count, found.count < limit, size < sizeMax {
                found.append(state.events[low])
                size += state.events[low].frame.count
                low += 1
            }
            state.reads.append(after)
            state.delivered += found.count
            return found
        }
    }

    func bounds() throws -> StreamBounds {
        state.withLock { StreamBounds(oldest: $0.events.first?.seq, newest: $0.newest) }
    }

    var wakeup: Int32? { rings ? pipeEnds.0 : nil }

    func acknowledgeWakeup() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(pipeEnds.0, &bytes, bytes.count) > 0 {}
    }
}

/// A server on a thread of its own, on a free loopback port.
final class RunningServer: Sendable {
    let control: StreamControl
    let port: Int
    private let ended = DispatchSemaphore(value: 0)
    let path: String?

    init(
        _ source: MemoryEvents, path: String? = nil, _ configure: (inout StreamServer.Configuration) -> Void = { _ in }
    ) throws {
        var configuration = StreamServer.Configuration()
        configuration.tickMilliseconds = 20
        configuration.drainMilliseconds = 50
        configure(&configuration)
        let control = try StreamControl()
        let listener = try path.map { try StreamListener.unix($0) } ?? StreamListener.tcp("127.0.0.1", port: 0)
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(listener, $0, &size) }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        self.control = control
        self.path = path
        let ended = ended
        let ready = DispatchSemaphore(value: 0)
        let chosen = configuration
        Thread.detachNewThread {
            if let server = try? StreamServer(chosen, source: source, control: control, log: .silent) {
                ready.signal()
                try? server.run(listener: listener)
            }
            ended.signal()
        }
        ready.wait()
    }

    /// Waits until `run` has returned.
    func waitForEnd() {
        ended.wait()
        ended.signal()
    }

    /// Ends the server; its counters are then final.
    func stop() {
        control.stop()
        waitForEnd()
    }

    deinit { control.stop() }

    func connect() throws -> Client { try Client(port: port) }

    func subscribe(_ query: String = "", receiveBuffer: Int? = nil) throws -> Client {
        let client = try Client(port: port, receiveBuffer: receiveBuffer)
        try client.upgrade(query)
        return client
    }
}

struct TestFault: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A WebSocket client over a blocking socket with a deadline on every read.
final class Client {
    let fd: Int32
    private let frames = WebSocketFrames(.client, messageSizeMax: 8_000_000)
    private var events: ArraySlice<WebSocketEvent> = []
    private(set) var ended = false

    init(port: Int, receiveBuffer: Int? = nil) throws {
        fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var deadline = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, socklen_t(MemoryLayout<timeval>.size))
        if let receiveBuffer {
            var value = Int32(receiveBuffer)
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port)).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw TestFault("connect: \(errno)") }
    }

    deinit { close(fd) }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        Glibc.send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }
    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    func send(_ opcode: WebSocketFrame.Opcode, _ payload: Bytes) {
        send(WebSocketFrame.encode(opcode, payload, mask: (1, 2, 3, 4)))
    }

    /// The next bytes, at most `count`; empty at the end of the stream.
    func read(_ count: Int = 65_536) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = Glibc.read(fd, &bytes, count)
        if got < 0, errno == ECONNRESET { return [] }
        guard got >= 0 else { throw TestFault("read: \(errno)") }
        return Array(bytes[..<got])
    }

    /// Everything to the end of the stream, as text.
    func readAll() throws -> String {
        var all: [UInt8] = []
        while true {
            let bytes = try read()
            if bytes.isEmpty { return String(decoding: all, as: UTF8.self) }
            all += bytes
        }
    }

    static func request(_ query: String) -> String {
        let target = "/xrpc/com.atproto.sync.subscribeRepos\(query.isEmpty ? "" : "?" + query)"
        return String(
            decoding: WebSocketHandshake.request(host: "a.example", target: Bytes(target), key: Self.key), as: UTF8.self
        )
    }

    static let key: Bytes = "dGhlIHNhbXBsZSBub25jZQ=="

    func upgrade(_ query: String) throws {
        send(Self.request(query))
        let head = try readHead()
        guard WebSocketHandshake.isAccepted(Bytes(head), key: Self.key) else {
            throw TestFault("not accepted: \(Bytes(head))")
        }
    }

    func readHead() throws -> [UInt8] {
        var head: [UInt8] = []
        while head.suffix(4) != [13, 10, 13, 10] {
            let byte = try read(1)
            guard !byte.isEmpty else { throw TestFault("the stream ended in the head: \(Bytes(head))") }
            head += byte
        }
        return head
    }

    /// The next message or control frame; nil at the end of the stream.
    func next() throws -> WebSocketEvent? {
        while events.isEmpty {
            let bytes = try read()
            if bytes.isEmpty {
                ended = true
                return nil
            }
            events = try frames.feed(bytes)[...]
        }
        return events.removeFirst()
    }

    /// The numbers of the next `count` events.
    func seqs(_ count: Int) throws -> [Int] {
        var seqs: [Int] = []
        while seqs.count < count {
            switch try next() {
            case .binary(let bytes): seqs.append(Self.seq(bytes))
            case .ping: continue
            case let other: throw TestFault("after \(seqs.count) events: \(String(describing: other))")
            }
        }
        return seqs
    }

    static func seq(_ bytes: Bytes) -> Int { bytes.upTo(8).reduce(0) { $0 << 8 | Int($1) } }
}
