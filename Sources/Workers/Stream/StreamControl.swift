internal import Base
internal import CSystem
internal import Glibc
internal import Synchronization

/// What the stream server has done since it started.
public struct StreamCounters: Sendable, Equatable {
    /// Subscribers now, live and catching up.
    public var subscribers = 0
    /// Subscriptions that have ended, for whatever reason, and how long they lasted.
    public var ended = 0
    public var endedMicroseconds = 0
    /// Subscribers that did not answer a ping.
    public var silent = 0
    /// Subscribers that were told of a restart.
    public var toldOfRestart = 0
    /// The newest event, and the last that the subscriber which is furthest behind was sent, as of the last tick.
    public var newestSeq = 0
    public var slowestSeq = 0
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
