internal import CSystem
internal import Glibc

/// Serves `GET /metrics` by HTTP/1.1 on loopback, one short connection after the other, on a thread of its own.
///
/// It has no keep-alive, no bodies and no other path. A request has `requestSizeMax` bytes and `timeoutSeconds`, so
/// nothing that connects can hold more than this one thread.
public final class MetricsDoor: Sendable {
    static let requestSizeMax = 4_096
    static let timeoutSeconds = 2
    private static let stackSize = 1 << 20

    private let descriptor: Int32
    private let metrics: Metrics

    /// Listens on `port` of 127.0.0.1; 0 means any that is free. Throws `SystemError`.
    public init(port: Int, metrics: Metrics) throws(SystemError) {
        guard let wanted = Int32(exactly: port) else { throw SystemError("listen on port \(port)", errno: EINVAL) }
        descriptor = csystem_listen_tcp("127.0.0.1", wanted, 16)
        guard descriptor >= 0 else { throw SystemError("listen on 127.0.0.1:\(port)") }
        self.metrics = metrics
    }

    /// Answers on `inherited`, a listening socket that whoever started this process made: one without a network of its
    /// own has its figures seen all the same.
    public init(inherited: Int32, metrics: Metrics) {
        descriptor = inherited
        self.metrics = metrics
    }

    /// The port that it listens on (another than asked for when that was 0).
    public var port: Int { Int(csystem_local_port(descriptor)) }

    /// Starts its thread. Throws `SystemError`.
    public func start() throws(SystemError) {
        let code = Threads.start(stackSize: Self.stackSize, detached: true) {
            while true { self.serveOne() }
        }
        if code != 0 { throw SystemError("pthread_create", errno: code) }
    }

    private func serveOne() {
        let connection = csystem_accept(descriptor, 0)
        guard connection >= 0 else {
            if SystemError.lastErrno != EINTR { usleep(100_000) }
            return
        }
        defer { close(connection) }
        csystem_set_timeouts(connection, Int32(Self.timeoutSeconds))
        if let head = readHead(connection) { send(answer(to: head), on: connection) }
    }

    /// Reads up to the blank line; nil when it does not come in time or is too long.
    private func readHead(_ connection: Int32) -> Bytes? {
        let deadline = Clock.monotonicNanoseconds() &+ UInt64(Self.timeoutSeconds) &* 1_000_000_000
        let blank = Bytes("\r\n\r\n")
        var head: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1_024)
        while head.count < Self.requestSizeMax, Clock.monotonicNanoseconds() < deadline {
            let count = buffer.withUnsafeMutableBytes { recv(connection, $0.baseAddress, $0.count, 0) }
            guard count > 0 else { return nil }
            head.append(contentsOf: buffer[..<count])
            if Bytes(head).ends(with: blank) { return Bytes(head) }
        }
        return nil
    }

    func answer(to head: Bytes) -> [UInt8] {
        let line = head.upTo(head.position(of: 0x0D) ?? head.count).split(on: 0x20)
        guard line.count == 3, line[2].starts(with: "HTTP/1.") else { return Self.response("400 Bad Request", []) }
        guard line[0] == "GET" else { return Self.response("405 Method Not Allowed\r\nAllow: GET", []) }
        guard line[1] == "/metrics" else { return Self.response("404 Not Found", []) }
        return Self.response("200 OK", metrics.text())
    }

    private static func response(_ status: String, _ body: [UInt8]) -> [UInt8] {
        let head =
            "HTTP/1.1 \(status)\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: \(body.count)\r\n"
            + "Connection: close\r\n\r\n"
        return Array(head.utf8) + body
    }

    private func send(_ bytes: [UInt8], on connection: Int32) {
        bytes.withUnsafeBytes { raw in
            var rest = raw
            while let base = rest.baseAddress, !rest.isEmpty {
                let count = Glibc.send(connection, base, rest.count, Int32(MSG_NOSIGNAL))
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            }
        }
    }
}
