internal import Base
internal import Net

/// What subscribers say: one request, then next to nothing.
extension StreamServer {
    static let path: Bytes = "/xrpc/com.atproto.sync.subscribeRepos"

    func take(_ bytes: UnsafeRawBufferPointer, from subscriber: Subscriber) {
        switch subscriber.state {
        case .closing: return
        case .handshake:
            let before = subscriber.request.count
            subscriber.request.append(contentsOf: bytes)
            readRequest(subscriber, from: before)
        case .live, .history:
            subscriber.received += bytes.count
            guard subscriber.received <= configuration.receivedSizeMax else {
                counters.protocolErrors += 1
                return finish(subscriber, WebSocketFrame.close(1_008, "too much data"))
            }
            takeFrames(bytes, from: subscriber)
        }
    }

    private func takeFrames(_ bytes: UnsafeRawBufferPointer, from subscriber: Subscriber) {
        let incoming = subscriber.incoming ?? WebSocketFrames(.server, messageSizeMax: Self.messageSizeMax)
        subscriber.incoming = incoming
        do throws(WebSocketError) {
            for event in try incoming.feed(bytes) {
                subscriber.pongBy = 0
                switch event {
                // There is nothing to say on this stream; the protocol asks that it be ignored.
                case .text, .binary, .pong: continue
                case .ping(let payload):
                    if subscriber.control.count < Self.controlSizeMax {
                        subscriber.control.append(contentsOf: WebSocketFrame.encode(.pong, payload))
                    }
                case .close(let code):
                    return finish(
                        subscriber, code.map { WebSocketFrame.close($0) } ?? WebSocketFrame.encode(.close, ""))
                }
            }
        } catch {
            counters.protocolErrors += 1
            return finish(subscriber, WebSocketFrame.close(error.closeCode))
        }
        if !subscriber.control.isEmpty, !subscriber.isArmed { send(subscriber) }
    }

    private func readRequest(_ subscriber: Subscriber, from start: Int) {
        do throws(HandshakeRequest.Fault) {
            guard let end = try HandshakeRequest.end(of: subscriber.request, from: start) else { return }
            let whole = Bytes(subscriber.request)
            subscriber.request = []
            answer(try HandshakeRequest(whole.upTo(end)), subscriber)
            guard subscriber.isSubscribed, end < whole.count else { return }
            whole.from(end).withUnsafeBytes { takeFrames($0, from: subscriber) }
        } catch {
            refuse(subscriber, error == .tooLarge ? .tooLarge : .malformed)
        }
    }

    private func answer(_ request: HandshakeRequest, _ subscriber: Subscriber) {
        guard request.path == Self.path else { return refuse(subscriber, .notFound) }
        guard request.method == "GET" else { return refuse(subscriber, .methodNotAllowed) }
        let key: Bytes
        switch request.upgrade {
        case .none: return refuse(subscriber, .upgradeRequired)
        case .otherVersion: return refuse(subscriber, .otherVersion)
        case .invalid: return refuse(subscriber, .invalidUpgrade)
        case .webSocket(let given): key = given
        }
        do {
            try subscribe(subscriber, cursor: try StreamCursor.parse(query: request.query), key: key)
        } catch is StreamCursor.Invalid {
            refuse(subscriber, .invalidCursor)
        } catch {
            counters.sourceErrors += 1
            log.warning("stream.source", ["error": .text(String(describing: error))])
            refuse(subscriber, .unavailable)
        }
    }

    /// The meaning of a cursor: none is "from now on", 0 is "all there is", else what comes after it.
    private func subscribe(_ subscriber: Subscriber, cursor: Int?, key: Bytes) throws {
        var first = WebSocketHandshake.response(key: key)
        var didRead = false
        // Whatever happens to this one, what was read for it is everyone's.
        defer { if didRead { fanOut() } }
        var place = (state: Subscriber.State.live, after: ring.newestSeq)
        if let cursor {
            let bounds = try source.bounds()
            guard cursor <= bounds.newest else {
                first += StreamFrames.futureCursor + WebSocketFrame.close(1_008, "FutureCursor")
                return finish(subscriber, first)
            }
            // The doorbell may not have rung for what this client has seen elsewhere already.
            while ring.newestSeq < cursor, try readBatch() > 0 { didRead = true }
            let isOutdated = cursor > 0 && (bounds.oldest.map { cursor + 1 < $0 } ?? (cursor < bounds.newest))
            if isOutdated { first += StreamFrames.outdatedCursor }
            place = (cursor >= ring.floorSeq ? .live : .history, cursor)
        }
        subscriber.state = place.state
        subscriber.after = place.after
        subscriber.index = ring.index(after: place.after)
        subscriber.subscribedAt = now
        subscriber.pingAt = after(configuration.pingMilliseconds)
        subscriber.control = first
        counters.subscribers += 1
        send(subscriber)
    }
}
