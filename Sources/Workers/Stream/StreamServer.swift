public import Base
internal import CSystem
internal import Glibc
internal import Net

/// `com.atproto.sync.subscribeRepos` as a WebSocket server: one thread, one epoll loop, one read of each event.
///
/// A new event is read once and prepared once; a live subscriber is a position in a shared ring. Whoever is further
/// behind replays bounded pages, which are shared too. Nothing that a subscriber does costs more than its own
/// connection: it reads at its own speed, or is cut off. Cursors are the client's and events come from the database,
/// so a restart loses nothing. https://atproto.com/specs/event-stream
public final class StreamServer {
    public struct Configuration: Sendable {
        public var subscribersMax = 5_000
        /// Frames and bytes in the shared ring.
        public var ringCountMax = 8_192
        public var ringSizeMax = 33_554_432
        /// How far a live subscriber may fall behind (the reference implementation's buffer is 500 events).
        public var backlogCountMax = 500
        public var backlogSizeMax = 16_777_216
        /// A subscriber for whom bytes wait must take `progressSizeMin` bytes in `progressMilliseconds`.
        public var progressSizeMin = 16_384
        public var progressMilliseconds = 30_000
        public var handshakeMilliseconds = 10_000
        public var goodbyeMilliseconds = 5_000
        public var pingMilliseconds = 30_000
        public var pongMilliseconds = 30_000
        /// How long `run` waits for goodbyes after it was asked to stop.
        public var drainMilliseconds = 3_000
        /// Timers, and the fallback for a missed doorbell.
        public var tickMilliseconds = 1_000
        /// What a client may send in a tick; all it says is pong and close.
        public var receivedSizeMax = 65_536
        /// Events and bytes that are read before the subscribers are served.
        public var batchCountMax = 256
        public var batchSizeMax = 4_194_304

        public init() {}
    }

    /// The longest message of a client; it has nothing to say.
    static let messageSizeMax = 4_096
    /// Frames in one writev(2).
    static let writeCountMax = 64
    /// Bytes that wait for one subscriber beside the events; a ping beyond that is not answered.
    static let controlSizeMax = 4_096

    let configuration: Configuration
    let source: any EventSource
    let control: StreamControl
    let log: Log
    let epoll: Int32

    var ring: FrameRing
    var pages = HistoryPages()
    var subscribers: ContiguousArray<Subscriber> = []
    var byDescriptor: [Subscriber?] = []
    var counters = StreamCounters()
    var now = Clock.monotonicNanoseconds()
    private let manager: ServiceManager
    private var nextTick: UInt64 = 0
    private var hasMore = false
    private var isAccepting = true
    private var isStopping = false
    private var drainDeadline = UInt64.max
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 16)

    /// Reads the bounds of `source`: throws what it throws, and `SystemError`.
    public init(
        _ configuration: Configuration = Configuration(), source: any EventSource, control: StreamControl, log: Log,
        manager: ServiceManager = ServiceManager()
    ) throws {
        self.manager = manager
        self.configuration = configuration
        self.source = source
        self.control = control
        self.log = log
        let newest = try source.bounds().newest
        ring = FrameRing(countMax: configuration.ringCountMax, sizeMax: configuration.ringSizeMax, after: newest)
        epoll = csystem_epoll_create()
        if epoll < 0 { throw SystemError("epoll_create") }
    }

    deinit {
        for subscriber in subscribers { close(subscriber.fd) }
        if epoll >= 0 { close(epoll) }
        input.deallocate()
    }

    public func run(listener: Int32) throws { try run(listeners: [listener]) }

    /// Serves `listeners` (listening stream sockets, which it closes) until the control says stop, then says goodbye
    /// with 1012 and returns.
    public func run(listeners: [Int32]) throws {
        signal(SIGPIPE, SIG_IGN)
        defer { if !isStopping { listeners.forEach { close($0) } } }
        for listener in listeners {
            guard fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK) == 0,
                csystem_epoll_add(epoll, listener, csystem_epoll_in) == 0
            else { throw SystemError("epoll_ctl") }
        }
        guard csystem_epoll_add(epoll, control.wakeup, csystem_epoll_in) == 0 else { throw SystemError("epoll_ctl") }
        manager.send("READY=1")
        log.info("stream.started", ["seq": .integer(ring.newestSeq)])
        var descriptors = [Int32](repeating: 0, count: 256)
        var events = [UInt32](repeating: 0, count: 256)
        while true {
            let count = csystem_epoll_wait(epoll, &descriptors, &events, 256, timeout)
            if count < 0, errno != EINTR { throw SystemError("epoll_wait") }
            now = Clock.monotonicNanoseconds()
            var ready: [Int32] = []
            var mustRead = hasMore
            for place in 0..<max(0, Int(count)) {
                let descriptor = descriptors[place]
                if listeners.contains(descriptor) {
                    // Last, so that no event of this round meets a descriptor that was closed and given out again.
                    ready.append(descriptor)
                } else if descriptor == control.wakeup {
                    _ = read(descriptor, input.baseAddress, 8)
                } else if descriptor == source.wakeup {
                    source.acknowledgeWakeup()
                    mustRead = true
                } else {
                    serve(descriptor, events[place])
                }
            }
            ready.forEach(acceptAll)
            if now >= nextTick {
                tick(listeners)
                mustRead = true
            }
            if mustRead { publishNewEvents() }
            if !isStopping, control.isStopping || control.wasTerminated { beginStop(listeners) }
            control.publish(counters)
            if isStopping, subscribers.isEmpty || now >= drainDeadline { break }
        }
        log.info("stream.stopped", ["seq": .integer(ring.newestSeq), "cut": .integer(subscribers.count)])
    }

    private var timeout: Int32 {
        if hasMore { return 0 }
        return nextTick <= now ? 0 : Int32(clamping: (nextTick - now) / 1_000_000 + 1)
    }

    /// A moment some milliseconds from now.
    func after(_ milliseconds: Int) -> UInt64 { now &+ UInt64(max(0, milliseconds)) &* 1_000_000 }

    private func serve(_ descriptor: Int32, _ events: UInt32) {
        guard byDescriptor.indices.contains(Int(descriptor)), let subscriber = byDescriptor[Int(descriptor)] else {
            return
        }
        if events & ~csystem_epoll_out != 0 { receive(subscriber) }
        // Receiving may have ended it.
        guard events & csystem_epoll_out != 0, byDescriptor[Int(descriptor)] === subscriber else { return }
        send(subscriber)
    }

    // MARK: Coming and going

    private func acceptAll(_ listener: Int32) {
        while !isStopping {
            let fd = csystem_accept(listener, 1)
            if fd < 0 {
                switch errno {
                case EINTR, ECONNABORTED: continue
                case EAGAIN: return
                default:
                    // Out of descriptors or memory: look away until the next tick rather than spin.
                    log.warning("stream.accept", ["errno": .integer(Int(errno))])
                    _ = csystem_epoll_remove(epoll, listener)
                    isAccepting = false
                    return
                }
            }
            counters.connections += 1
            add(fd)
        }
    }

    private func add(_ fd: Int32) {
        var one: Int32 = 1
        setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        // Somewhat above the limit a refusal is still worth its answer.
        guard subscribers.count < configuration.subscribersMax + 64,
            csystem_epoll_add(epoll, fd, csystem_epoll_in) == 0
        else {
            counters.refusals += 1
            close(fd)
            return
        }
        let subscriber = Subscriber(
            fd: fd, place: subscribers.count, deadline: after(configuration.handshakeMilliseconds))
        subscribers.append(subscriber)
        while byDescriptor.count <= Int(fd) { byDescriptor.append(nil) }
        byDescriptor[Int(fd)] = subscriber
        if subscribers.count > configuration.subscribersMax { refuse(subscriber, .unavailable) }
    }

    /// Ends the connection at once.
    func drop(_ subscriber: Subscriber) {
        guard byDescriptor[Int(subscriber.fd)] === subscriber else { return }
        countEnd(of: subscriber)
        // Whoever still holds it must find nothing to do.
        subscriber.state = .closing
        byDescriptor[Int(subscriber.fd)] = nil
        let last = subscribers.removeLast()
        if last !== subscriber {
            subscribers[subscriber.place] = last
            last.place = subscriber.place
        }
        close(subscriber.fd)
    }

    private func countEnd(of subscriber: Subscriber) {
        guard subscriber.isSubscribed else { return }
        counters.subscribers -= 1
        counters.ended += 1
        counters.endedMicroseconds &+= Int(clamping: (now &- subscriber.subscribedAt) / 1_000)
    }

    /// Answers the handshake with an HTTP error.
    func refuse(_ subscriber: Subscriber, _ answer: HandshakeAnswer) {
        counters.refusals += 1
        finish(subscriber, answer.bytes)
    }

    /// Sends these last bytes, after the event that is under way, and then ends the connection.
    func finish(_ subscriber: Subscriber, _ bytes: [UInt8]) {
        guard subscriber.state != .closing else { return }
        countEnd(of: subscriber)
        subscriber.state = .closing
        subscriber.deadline = after(configuration.goodbyeMilliseconds)
        subscriber.control.append(contentsOf: bytes)
        send(subscriber)
    }

    func cutOff(_ subscriber: Subscriber) {
        counters.consumersTooSlow += 1
        log.info("stream.slow", ["after": .integer(subscriber.after)])
        finish(subscriber, StreamFrames.consumerTooSlow + WebSocketFrame.close(1_008, "ConsumerTooSlow"))
    }

    private func receive(_ subscriber: Subscriber) {
        let count = read(subscriber.fd, input.baseAddress, input.count)
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            if subscriber.state == .handshake { counters.refusals += 1 }
            return drop(subscriber)
        }
        take(UnsafeRawBufferPointer(rebasing: input[..<count]), from: subscriber)
    }

    private func beginStop(_ listeners: [Int32]) {
        isStopping = true
        hasMore = false
        drainDeadline = after(configuration.drainMilliseconds)
        manager.send("STOPPING=1")
        for listener in listeners {
            _ = csystem_epoll_remove(epoll, listener)
            close(listener)
        }
        if let wakeup = source.wakeup { _ = csystem_epoll_remove(epoll, wakeup) }
        let goodbye = WebSocketFrame.close(1_012, "Service Restart")
        for subscriber in subscribers {
            if subscriber.isSubscribed {
                counters.toldOfRestart += 1
                finish(subscriber, goodbye)
            } else if subscriber.state == .handshake {
                drop(subscriber)
            }
        }
    }

    // MARK: Time

    private func tick(_ listeners: [Int32]) {
        // Each tick is a second: far below half of any watchdog's time.
        if manager.watchdogIntervalNanoseconds != nil { manager.send("WATCHDOG=1") }
        nextTick = after(configuration.tickMilliseconds)
        if !isStopping {
            if !isAccepting {
                // One of them may be there still; that is no failure.
                for listener in listeners { _ = csystem_epoll_add(epoll, listener, csystem_epoll_in) }
                isAccepting = true
            }
            // A source that lost its connection comes back with another doorbell, maybe under the same number.
            if let wakeup = source.wakeup { _ = csystem_epoll_add(epoll, wakeup, csystem_epoll_in) }
        }
        var place = subscribers.count
        while place > 0 {
            place -= 1
            // A drop moves the last one here, which has had its turn.
            if place < subscribers.count { check(subscribers[place]) }
        }
        counters.newestSeq = ring.newestSeq
        counters.slowestSeq = ring.newestSeq
        for subscriber in subscribers where subscriber.isSubscribed {
            counters.slowestSeq = min(counters.slowestSeq, subscriber.after)
        }
    }

    private func check(_ subscriber: Subscriber) {
        subscriber.received = 0
        switch subscriber.state {
        case .handshake:
            guard now >= subscriber.deadline else { return }
            counters.refusals += 1
            drop(subscriber)
        case .closing: if now >= subscriber.deadline { drop(subscriber) }
        case .live, .history:
            if subscriber.isWaiting {
                subscriber.isWaiting = false
                arm(subscriber)
                guard subscriber.isSubscribed else { return }
            }
            if subscriber.pongBy != 0, now >= subscriber.pongBy {
                counters.silent += 1
                return drop(subscriber)
            }
            if subscriber.isArmed, now >= subscriber.stallAt {
                let progress = subscriber.bytesSent - subscriber.bytesAtStall
                if progress < UInt64(configuration.progressSizeMin) { return cutOff(subscriber) }
                restartStallWindow(subscriber)
            }
            if now >= subscriber.pingAt { ping(subscriber) }
        }
    }

    private func ping(_ subscriber: Subscriber) {
        subscriber.pingAt = after(configuration.pingMilliseconds)
        // Who has events waiting is judged by its progress.
        guard subscriber.pongBy == 0, !subscriber.isArmed else { return }
        subscriber.pongBy = after(configuration.pongMilliseconds)
        subscriber.control.append(contentsOf: Self.pingFrame)
        send(subscriber)
    }

    private static let pingFrame = WebSocketFrame.encode(.ping, "")

    // MARK: New events

    /// Reads one batch of new events into the ring and sends it to everyone who is live.
    private func publishNewEvents() {
        hasMore = false
        guard !isStopping else { return }
        do {
            let before = ring.endOffset
            let count = try readBatch()
            hasMore =
                count == configuration.batchCountMax || ring.endOffset - before >= UInt64(configuration.batchSizeMax)
            if count > 0 { fanOut() }
        } catch {
            counters.sourceErrors += 1
            log.warning("stream.source", ["error": .text(String(describing: error))])
        }
    }

    /// Appends the next events to the ring; returns how many there were.
    func readBatch() throws -> Int {
        let events = try source.events(
            after: ring.newestSeq, limit: configuration.batchCountMax, sizeMax: configuration.batchSizeMax)
        for event in events {
            guard event.seq > ring.newestSeq else { throw SourceDisorder(seq: event.seq) }
            ring.append(PreparedFrame(event))
        }
        counters.eventsRead += events.count
        return events.count
    }

    /// The source gave numbers that do not ascend: sending on would break every cursor.
    struct SourceDisorder: Error { let seq: Int }

    func fanOut() {
        var place = subscribers.count
        while place > 0 {
            place -= 1
            guard place < subscribers.count else { continue }
            let subscriber = subscribers[place]
            guard subscriber.state == .live else { continue }
            if !subscriber.isArmed { send(subscriber) }
            guard subscriber.isArmed, subscriber.isCaughtUp, subscriber.state == .live else { continue }
            if ring.end - subscriber.index > configuration.backlogCountMax
                || ring.backlogSize(from: subscriber.index) > UInt64(configuration.backlogSizeMax)
            {
                cutOff(subscriber)
            }
        }
    }
}
