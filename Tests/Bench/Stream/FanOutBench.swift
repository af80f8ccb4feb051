import Base
import CSystem
import Foundation
import Glibc
import Net
import Stream
import Synchronization

/// Fan-out: CPU time of the sending thread for each frame, the stream server beside a bare loop of send(2) of the same
/// prepared frames to the same number of loopback sockets at the same pace. Both in one run, taking turns, because
/// figures of different runs on a shared machine can't be compared.
struct FanOutBench {
    let subscribers: Int
    let payload: Int
    static let rounds = 3

    struct Pace {
        let name: String
        /// Events at once, how often, and how many times.
        let burst: Int
        let everyMicroseconds: UInt32
        let times: Int
    }

    static let paces = [
        Pace(name: "live: 1 event each 5 ms", burst: 1, everyMicroseconds: 5_000, times: 100),
        Pace(name: "bursts of 20 events each 50 ms", burst: 20, everyMicroseconds: 50_000, times: 10),
    ]

    func run() throws {
        for pace in Self.paces {
            var bare: [Double] = []
            var server: [Double] = []
            for _ in 0..<Self.rounds {
                bare.append(try measureBareLoop(pace))
                server.append(try measureServer(pace))
            }
            // The least disturbed round of each.
            let (a, b) = (bare.min() ?? 0, server.min() ?? 0)
            print(
                "\(pace.name), \(subscribers) subscribers, \(payload) bytes: send(2) loop \(text(a)) µs/frame, "
                    + "stream server \(text(b)) µs/frame, ratio \(text(b / a))")
        }
        try measureSlowSubscribers()
    }

    /// Reliability row R8: subscribers that replay from 0 and read nothing, beside one that reads 100 MB. What is
    /// printed is the memory that they cost, whatever they do; kernel buffers are not in it.
    private func measureSlowSubscribers() throws {
        let listener = try StreamListener.tcp("127.0.0.1", port: 0)
        let port = port(of: listener)
        let source = BenchEvents()
        let count = 20_000
        let frame = Bytes([UInt8](repeating: 7, count: 5_000))
        source.append(count, frame)
        let control = try StreamControl()
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            do {
                try StreamServer(source: source, control: control, log: .silent).run(listener: listener)
            } catch {
                print(error)
            }
            ended.signal()
        }
        let before = residentKiB()
        let slow = try (0..<subscribers * 2).map { _ in try subscribe(port, cursor: true) }
        let drain = Drain()
        drain.add(try subscribe(port, cursor: true))
        drain.start()
        drain.finish((5_000 + 4) * count)
        let after = residentKiB()
        print(
            "slow: \(slow.count) subscribers that read nothing, one that replayed \(count) events of 5 KB: "
                + "\(after - before) KiB more resident, \((after - before) / slow.count) KiB each, "
                + "\(control.counters.historyReads) reads of pages")
        control.stop()
        for fd in slow { close(fd) }
        ended.wait()
    }

    private func subscribe(_ port: in_port_t, cursor: Bool = false) throws -> Int32 {
        let client = try connect(to: port)
        let target: Bytes = "/xrpc/com.atproto.sync.subscribeRepos"
        let request = WebSocketHandshake.request(
            host: "localhost", target: cursor ? target + "?cursor=0" : target, key: Self.key)
        guard Glibc.send(client, request, request.count, 0) == request.count else { throw SystemError("send") }
        // The answer is of a known length; after it come frames.
        var answer = WebSocketHandshake.response(key: Self.key)
        guard recv(client, &answer, answer.count, Int32(MSG_WAITALL)) == answer.count else {
            throw SystemError("recv")
        }
        return client
    }

    private static let key: Bytes = "dGhlIHNhbXBsZSBub25jZQ=="

    private func text(_ value: Double) -> String { String(format: "%.2f", value) }

    private func residentKiB() -> Int {
        let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ")
        return (pages.flatMap { $0.count > 1 ? Int($0[1]) : nil } ?? 0) * 4
    }

    // MARK: The other side

    private func measureBareLoop(_ pace: Pace) throws -> Double {
        let listener = try StreamListener.tcp("127.0.0.1", port: 0)
        defer { close(listener) }
        let drain = Drain()
        var peers: [Int32] = []
        for _ in 0..<subscribers {
            drain.add(try connect(to: port(of: listener)))
            let peer = accept(listener, nil, nil)
            _ = fcntl(peer, F_SETFL, O_NONBLOCK)
            var one: Int32 = 1
            setsockopt(peer, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
            peers.append(peer)
        }
        drain.start()
        let frame = WebSocketFrame.encode(.binary, Bytes([UInt8](repeating: 7, count: payload)))
        let expected = frame.count * subscribers * pace.burst * pace.times
        let start = threadNanoseconds(CLOCK_THREAD_CPUTIME_ID)
        for _ in 0..<pace.times {
            for _ in 0..<pace.burst {
                for peer in peers {
                    while Glibc.send(peer, frame, frame.count, Int32(MSG_NOSIGNAL)) < 0, errno == EAGAIN {
                        var waiting = pollfd(fd: peer, events: Int16(POLLOUT), revents: 0)
                        poll(&waiting, 1, -1)
                    }
                }
            }
            usleep(pace.everyMicroseconds)
        }
        let spent = threadNanoseconds(CLOCK_THREAD_CPUTIME_ID) - start
        drain.finish(expected)
        for peer in peers { close(peer) }
        return Double(spent) / 1_000 / Double(subscribers * pace.burst * pace.times)
    }

    // MARK: The stream server

    private func measureServer(_ pace: Pace) throws -> Double {
        let listener = try StreamListener.tcp("127.0.0.1", port: 0)
        let port = port(of: listener)
        let source = BenchEvents()
        let control = try StreamControl()
        var configuration = StreamServer.Configuration()
        configuration.backlogCountMax = 8_000
        let chosen = configuration
        let clock = Guarded<clockid_t?>(nil)
        let ended = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            var id = clockid_t()
            pthread_getcpuclockid(pthread_self(), &id)
            clock.withLock { $0 = id }
            do {
                try StreamServer(chosen, source: source, control: control, log: .silent).run(listener: listener)
            } catch {
                print(error)
            }
            ended.signal()
        }
        let drain = Drain()
        for _ in 0..<subscribers { drain.add(try subscribe(port)) }
        drain.start()
        guard let id = clock.withLock({ $0 }) else { throw SystemError("clock") }
        let frame = Bytes([UInt8](repeating: 7, count: payload))
        let header = payload < 126 ? 2 : 4
        let start = threadNanoseconds(id)
        for _ in 0..<pace.times {
            source.append(pace.burst, frame)
            usleep(pace.everyMicroseconds)
        }
        let expected = (payload + header) * subscribers * pace.burst * pace.times
        drain.finish(expected)
        let spent = threadNanoseconds(id) - start
        control.stop()
        ended.wait()
        return Double(spent) / 1_000 / Double(subscribers * pace.burst * pace.times)
    }

    // MARK: Sockets

    private func threadNanoseconds(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private func port(of listener: Int32) -> in_port_t {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(listener, $0, &size) }
        }
        return address.sin_port
    }

    private func connect(to port: in_port_t) throws -> Int32 {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw SystemError("connect") }
        return fd
    }
}

/// Events that all have the same bytes, and a doorbell.
final class BenchEvents: EventSource, Sendable {
    private let events = Guarded<[StreamEvent]>([])
    private let doorbell = csystem_eventfd()

    func append(_ count: Int, _ frame: Bytes) {
        events.withLock { events in
            for _ in 0..<count { events.append(StreamEvent(seq: events.count + 1, frame: frame)) }
        }
        var one: UInt64 = 1
        _ = write(doorbell, &one, 8)
    }

    func events(after: Int, limit: Int, sizeMax: Int) -> [StreamEvent] {
        events.withLock { Array($0[after..<min($0.count, after + limit)]) }
    }

    func bounds() -> StreamBounds {
        events.withLock { StreamBounds(oldest: $0.isEmpty ? nil : 1, newest: $0.count) }
    }

    var wakeup: Int32? { doorbell }

    func acknowledgeWakeup() {
        var value: UInt64 = 0
        _ = read(doorbell, &value, 8)
    }
}

/// Reads many sockets to nowhere, on a thread of its own, and counts.
final class Drain: Sendable {
    private let sockets = Guarded<[Int32]>([])
    private let wanted = Atomic<Int>(Int.max)
    private let ended = DispatchSemaphore(value: 0)

    func add(_ fd: Int32) { sockets.withLock { $0.append(fd) } }

    func start() {
        let sockets = sockets.withLock { $0 }
        Thread.detachNewThread { [self] in
            var waiting = sockets.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            var buffer = [UInt8](repeating: 0, count: 1 << 18)
            var total = 0
            while total < wanted.load(ordering: .acquiring) {
                guard poll(&waiting, nfds_t(waiting.count), 10) > 0 else { continue }
                for place in waiting.indices where waiting[place].revents != 0 {
                    total += max(0, recv(waiting[place].fd, &buffer, buffer.count, Int32(MSG_DONTWAIT)))
                }
            }
            for fd in sockets { close(fd) }
            ended.signal()
        }
    }

    /// Waits until so many bytes have arrived: both sides must have delivered everything.
    func finish(_ bytes: Int) {
        wanted.store(bytes, ordering: .releasing)
        ended.wait()
    }
}
