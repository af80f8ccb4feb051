internal import Base
internal import CSystem
internal import Glibc
internal import Synchronization

/// What the stream server has done since it started.
public struct StreamCounters: Sendable, Equatable {
    /// Subscribers now, live and catching up.
    public var subscribers = 0
    public var connections = 0
    /// Connections that were answered with an HTTP error or dropped in the handshake.
    public var refusals = 0
    /// Events that were read to be sent to the live subscribers, each once.
    public var eventsRead = 0
    /// Reads of older events, shared by everyone who replays the same part.
    public var historyReads = 0
    public var framesSent = 0
    public var bytesSent = 0
    /// Subscribers cut off with `ConsumerTooSlow`.
    public var consumersTooSlow = 0
    /// Subscribers cut off for breaking the WebSocket protocol.
    public var protocolErrors = 0
    /// Reads that the event source refused.
    public var sourceErrors = 0

    public init() {}
}

/// The handle by which other threads, and SIGTERM, reach a running server.
public final class StreamControl: Sendable {
    let wakeup: Int32
    private let stopping = Atomic<Bool>(false)
    private let published = Guarded(StreamCounters())

    public init() throws {
        wakeup = csystem_eventfd()
        if wakeup < 0 { throw SystemError("eventfd") }
    }

    deinit {
        // The descriptor's number will be another's: a late signal must not reach that one.
        _ = terminationTarget.compareExchange(expected: wakeup, desired: -1, ordering: .acquiringAndReleasing)
        close(wakeup)
    }

    /// Asks the server to say goodbye to everyone and to return from `run`.
    public func stop() {
        stopping.store(true, ordering: .releasing)
        ring(wakeup)
    }

    var isStopping: Bool { stopping.load(ordering: .acquiring) }

    /// The figures as of the server's last turn.
    public var counters: StreamCounters { published.withLock { $0 } }

    func publish(_ counters: StreamCounters) { published.withLock { $0 = counters } }

    /// From now on SIGTERM and SIGINT stop the server of this control, and of no other.
    public func stopOnTermination() {
        terminated.store(false, ordering: .releasing)
        terminationTarget.store(wakeup, ordering: .releasing)
        signal(SIGTERM, onTermination)
        signal(SIGINT, onTermination)
    }

    /// True when a signal came in for this control.
    var wasTerminated: Bool {
        terminated.load(ordering: .acquiring) && terminationTarget.load(ordering: .acquiring) == wakeup
    }
}

private let terminationTarget = Atomic<Int32>(-1)
private let terminated = Atomic<Bool>(false)

/// Only what a signal handler may do: two atomics and write(2).
private func onTermination(_ signal: Int32) {
    let saved = errno
    terminated.store(true, ordering: .releasing)
    let target = terminationTarget.load(ordering: .acquiring)
    if target >= 0 { ring(target) }
    errno = saved
}

private func ring(_ descriptor: Int32) {
    var one: UInt64 = 1
    _ = write(descriptor, &one, 8)
}

/// Where the server listens.
public enum StreamListener {
    /// The listening socket that systemd (`LISTEN_FDS`) or a parent (descriptor 0) handed over, or nil. Inherited, it
    /// outlives a restart, so that no connection is refused meanwhile.
    public static func inherited() -> Int32? {
        if let count = getenv("LISTEN_FDS"), atoi(count) >= 1, let pid = getenv("LISTEN_PID"), atoi(pid) == getpid(),
            csystem_is_listening(3) == 1
        {
            return 3
        }
        return csystem_is_listening(0) == 1 ? 0 : nil
    }

    /// Listens on a unix socket; mode 0660, so that the web server's group reaches it.
    public static func unix(_ path: String) throws -> Int32 {
        let fd = csystem_listen_unix(path, backlog, 0o660)
        if fd < 0 { throw SystemError("listen \(path)") }
        return fd
    }

    /// Listens on a TCP port of a numeric address, such as 127.0.0.1.
    public static func tcp(_ host: String, port: Int) throws -> Int32 {
        let fd = csystem_listen_tcp(host, Int32(clamping: port), backlog)
        if fd < 0 { throw SystemError("listen \(host):\(port)") }
        return fd
    }

    private static let backlog: Int32 = 511
}

/// systemd's notification socket (sd_notify(3)); silent when there is none.
enum ServiceManager {
    static func notify(_ state: String) {
        guard let path = getenv("NOTIFY_SOCKET") else { return }
        _ = state.withCString { csystem_send_datagram(path, $0, strlen($0)) }
    }
}
