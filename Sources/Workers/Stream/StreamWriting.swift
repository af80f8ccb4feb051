internal import Base
internal import CSystem
internal import Glibc
internal import Net

/// Getting bytes out: as much as the socket takes, and then the kernel calls back.
extension StreamServer {
    enum Outcome { case done, blocked, failed }

    /// Goes on where this subscriber's output stopped.
    func send(_ subscriber: Subscriber) {
        if subscriber.hasPrivateBytes {
            switch writePrivateBytes(subscriber) {
            case .done: break
            case .blocked: return arm(subscriber)
            case .failed: return drop(subscriber)
            }
        }
        switch subscriber.state {
        case .live: sendFromRing(subscriber)
        case .history: sendPage(subscriber)
        case .closing:
            // Everything is out. The peer's end of stream, or the deadline, ends it: closing now could make the kernel
            // reset the connection and discard what was sent.
            shutdown(subscriber.fd, Int32(SHUT_WR))
            disarm(subscriber)
        case .handshake: disarm(subscriber)
        }
    }

    private func sendFromRing(_ subscriber: Subscriber) {
        while true {
            if subscriber.index < ring.start {
                subscriber.state = .history
                subscriber.isCaughtUp = false
                return arm(subscriber)
            }
            if subscriber.index == ring.end {
                subscriber.isCaughtUp = true
                return disarm(subscriber)
            }
            let (outcome, written) = ring.withSlots(from: subscriber.index, limit: Self.writeCountMax) {
                write($0, to: subscriber)
            }
            subscriber.index += written
            switch outcome {
            case .done: continue
            case .blocked: return arm(subscriber)
            case .failed: return drop(subscriber)
            }
        }
    }

    /// One page at most; the kernel's next "writable" brings the next one, so that everyone has a turn.
    private func sendPage(_ subscriber: Subscriber) {
        do {
            guard let page = try page(for: subscriber) else {
                subscriber.state = .live
                subscriber.index = ring.index(after: subscriber.after)
                return sendFromRing(subscriber)
            }
            var index = page.index(after: subscriber.after)
            while index < page.slots.count {
                let (outcome, written) = page.slots.withUnsafeBufferPointer { slots in
                    let limit = min(slots.count, index + Self.writeCountMax)
                    return write(UnsafeBufferPointer(rebasing: slots[index..<limit]), to: subscriber)
                }
                index += written
                switch outcome {
                case .done: continue
                case .blocked: return arm(subscriber)
                case .failed: return drop(subscriber)
                }
            }
            arm(subscriber)
        } catch {
            counters.sourceErrors += 1
            log.warning("stream.source", ["error": .text(String(describing: error))])
            subscriber.isWaiting = true
            disarm(subscriber)
        }
    }

    /// The page that holds what this subscriber needs next, or nil when that is in the ring.
    private func page(for subscriber: Subscriber) throws -> HistoryPage? {
        if subscriber.after >= ring.floorSeq { return nil }
        if let page = pages.page(after: subscriber.after) { return page }
        // What the ring has not seen yet will come through the ring: sending it from here would send it twice.
        let events = try source.events(
            after: subscriber.after, limit: HistoryPages.eventsMax, sizeMax: HistoryPages.pageSizeMax
        ).prefix { $0.seq <= ring.newestSeq }
        counters.historyReads += 1
        guard !events.isEmpty else {
            // What it asked for has left the window since.
            subscriber.after = ring.floorSeq
            return nil
        }
        let page = HistoryPage(after: subscriber.after, events: Array(events))
        guard page.lastSeq > page.after else { throw SourceDisorder(seq: page.lastSeq) }
        pages.insert(page)
        return page
    }

    /// Writes slots; returns how many went out whole. One that went out in part is kept as `partial`.
    private func write(_ slots: UnsafeBufferPointer<FrameSlot?>, to subscriber: Subscriber) -> (Outcome, Int) {
        guard let first = slots.first ?? nil else { return (.done, 0) }
        let sent: Int
        if slots.count == 1 {
            sent = Glibc.send(subscriber.fd, first.bytes.baseAddress, first.bytes.count, Int32(MSG_NOSIGNAL))
        } else {
            sent = withUnsafeTemporaryAllocation(of: iovec.self, capacity: slots.count) { vector in
                for place in 0..<slots.count {
                    guard let slot = slots[place] else {
                        return writev(subscriber.fd, vector.baseAddress, Int32(place))
                    }
                    vector.initializeElement(
                        at: place,
                        to: iovec(
                            iov_base: UnsafeMutableRawPointer(mutating: slot.bytes.baseAddress),
                            iov_len: slot.bytes.count))
                }
                return writev(subscriber.fd, vector.baseAddress, Int32(slots.count))
            }
        }
        guard sent >= 0 else { return (errno == EAGAIN || errno == EINTR ? .blocked : .failed, 0) }
        count(sent, subscriber)
        var left = sent
        var whole = 0
        while whole < slots.count, let slot = slots[whole] {
            guard left >= slot.bytes.count else {
                if left > 0 {
                    subscriber.partial = slot.frame
                    subscriber.partialSent = left
                }
                break
            }
            left -= slot.bytes.count
            whole += 1
            subscriber.after = slot.seq
        }
        counters.framesSent += whole
        return (whole == slots.count ? .done : .blocked, whole)
    }

    /// First the rest of an event, then the bytes for this subscriber alone; never one inside the other.
    private func writePrivateBytes(_ subscriber: Subscriber) -> Outcome {
        if subscriber.controlSent == 0, let frame = subscriber.partial {
            let rest = UnsafeRawBufferPointer(rebasing: frame.bytes[subscriber.partialSent...])
            let sent = withExtendedLifetime(frame) {
                Glibc.send(subscriber.fd, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            guard sent >= 0 else { return errno == EAGAIN || errno == EINTR ? .blocked : .failed }
            count(sent, subscriber)
            subscriber.partialSent += sent
            guard sent == rest.count else { return .blocked }
            subscriber.partial = nil
            subscriber.partialSent = 0
            subscriber.after = frame.seq
            counters.framesSent += 1
            if subscriber.state == .live { subscriber.index += 1 }
        }
        guard !subscriber.control.isEmpty else { return .done }
        let rest = subscriber.control.count - subscriber.controlSent
        let sent = subscriber.control.withUnsafeBytes { raw in
            raw.baseAddress.map { Glibc.send(subscriber.fd, $0 + subscriber.controlSent, rest, Int32(MSG_NOSIGNAL)) }
                ?? 0
        }
        guard sent >= 0 else { return errno == EAGAIN || errno == EINTR ? .blocked : .failed }
        count(sent, subscriber)
        subscriber.controlSent += sent
        guard sent == rest else { return .blocked }
        subscriber.control = []
        subscriber.controlSent = 0
        return .done
    }

    @inline(__always)
    private func count(_ sent: Int, _ subscriber: Subscriber) {
        subscriber.bytesSent &+= UInt64(sent)
        counters.bytesSent &+= sent
    }

    // MARK: The kernel's call

    func arm(_ subscriber: Subscriber) {
        guard !subscriber.isArmed else { return }
        subscriber.isArmed = true
        restartStallWindow(subscriber)
        if csystem_epoll_modify(epoll, subscriber.fd, csystem_epoll_in | csystem_epoll_out) != 0 { drop(subscriber) }
    }

    func disarm(_ subscriber: Subscriber) {
        guard subscriber.isArmed else { return }
        subscriber.isArmed = false
        if csystem_epoll_modify(epoll, subscriber.fd, csystem_epoll_in) != 0 { drop(subscriber) }
    }

    func restartStallWindow(_ subscriber: Subscriber) {
        subscriber.stallAt = after(configuration.progressMilliseconds)
        subscriber.bytesAtStall = subscriber.bytesSent
    }
}
