internal import Base
internal import CFCGI
internal import CSystem
internal import Glibc
internal import Synchronization
internal import Web

/// What the draining and watching thread may know about a worker thread.
final class WorkerState: Sendable {
    /// False only while the thread waits for a connection or, on a kept one, for the next request.
    let isBusy = Atomic<Bool>(false)
    /// False only before the thread runs and after it has ended.
    let isRunning = Atomic<Bool>(true)
    /// When the request in hand began (monotonic nanoseconds).
    let busySince = Atomic<UInt64>(0)
    let thread = Atomic<UInt>(0)
    let metrics = RequestMetrics()
}

/// One thread's loop: accept, read, answer, close.
struct Worker {
    let server: Server
    let state: WorkerState
    private let request: UnsafeMutablePointer<FCGX_Request>
    private let body = FastCGIBody()
    private var ids = RequestIDs()

    init(server: Server, state: WorkerState) {
        self.server = server
        self.state = state
        request = .allocate(capacity: 1)
        // libfcgi never accepts by itself here: it is given each connection.
        FCGX_InitRequest(request, -1, Int32(FCGI_FAIL_ACCEPT_ON_INTR))
    }

    /// Serves until the server drains.
    mutating func run() {
        while !server.isDraining {
            let connection = csystem_accept(server.descriptor, 0)
            if connection < 0 {
                pauseAfterFailedAccept()
                continue
            }
            begin()
            if isAllowed(connection) {
                serve(connection)
            } else {
                close(connection)
            }
            state.isBusy.store(false, ordering: .sequentiallyConsistent)
        }
        FCGX_Free(request, 0)
        request.deallocate()
    }

    /// Marks this thread busy, so that a drain leaves it alone.
    ///
    /// A drain raises its flag and then wakes the threads that are not busy, with a signal that interrupts system
    /// calls. Both sides store first and load second, in one order: either the drain sees that this thread is busy,
    /// or this thread sees the drain and keeps the signal out. So no request that was accepted is ever interrupted.
    private func begin() {
        state.busySince.store(Clock.monotonicNanoseconds(), ordering: .relaxed)
        state.isBusy.store(true, ordering: .sequentiallyConsistent)
        if server.isDraining { Server.setWakeUps(isBlocked: true) }
    }

    private func pauseAfterFailedAccept() {
        switch SystemError.lastErrno {
        case EINTR, ECONNABORTED: return
        default:
            // Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM): wait for others to free some.
            server.acceptFailures.add()
            usleep(50_000)
        }
    }

    private func isAllowed(_ connection: Int32) -> Bool {
        guard !server.configuration.allowedUIDs.isEmpty else { return true }
        let uid = csystem_peer_uid(connection)
        if uid >= 0, server.configuration.allowedUIDs.contains(UInt32(clamping: uid)) { return true }
        server.log.warning("fcgi.peer-refused", ["uid": .integer(uid)])
        return false
    }

    /// Serves the requests of one connection, which is one unless connections are kept. Closes it.
    private mutating func serve(_ connection: Int32) {
        csystem_set_timeouts(connection, Int32(clamping: server.configuration.peerTimeoutSeconds))
        var isOpen = true
        while isOpen {
            // FCGX_Accept_r first finishes "the request before" and would close the connection without this.
            request.pointee.keepConnection = 1
            request.pointee.ipcFd = connection
            // A negative result: the peer closed, or sent what is not FastCGI. libfcgi has then closed the connection.
            guard FCGX_Accept_r(request) == 0 else {
                request.pointee.ipcFd = -1
                return
            }
            isOpen = answer() && waitForNext(connection)
        }
        request.pointee.ipcFd = -1
        close(connection)
    }

    /// On a kept connection: waits as an idle thread for the next request. False: close it.
    private func waitForNext(_ connection: Int32) -> Bool {
        state.isBusy.store(false, ordering: .sequentiallyConsistent)
        defer { begin() }
        if server.isDraining { return false }
        return csystem_wait_readable(connection, Int32(clamping: server.configuration.idleSeconds) &* 1_000) == 1
    }

    /// `FCGI_RESPONDER` of the FastCGI specification, section 5.1; authorizers and filters are not served.
    private static let responderRole: Int32 = 1

    /// Answers the request that libfcgi has read the parameters of. True when the connection may carry another.
    private mutating func answer() -> Bool {
        let started = Clock.monotonicNanoseconds()
        // libfcgi takes a PARAMS stream that broke off between two pairs for a whole one; the error shows it.
        guard FCGX_GetError(request.pointee.in) == 0, request.pointee.role == Self.responderRole else {
            FCGX_Free(request, 0)
            return false
        }
        let wantsToKeep = server.configuration.keepsConnections && request.pointee.keepConnection != 0
        var exchange = Exchange(server: server, request: request, started: started)
        exchange.run(body: body, ids: &ids)
        body.end()
        // Before the end goes out: whoever has read an answer to its end finds it counted.
        exchange.record(in: state.metrics)
        let isClean = exchange.outcome == .complete && finish(isBodyLeft: exchange.mayHaveBody, keeps: wantsToKeep)
        if exchange.outcome == .broken { spoil() }
        if exchange.outcome != .complete { FCGX_Free(request, 0) }
        return isClean && wantsToKeep && !server.isDraining
    }

    /// The most of an unread body that is read and dropped so that a kept connection stays usable.
    static let drainSizeMax = 1 << 20

    /// The most of an unread body that is read and dropped after the answer: more than any web server lets in. What
    /// comes here was buffered by it, so that no slow client is waited for.
    static let lingerSizeMax = 4 << 30

    /// Ends the request. False when the connection can't carry another one.
    ///
    /// libfcgi leaves an unread body in the connection, where the next FCGX_Accept_r takes it for records: a client
    /// could then write itself a second request with parameters of its choice. So the body is read to its end, or
    /// the connection is given up.
    private func finish(isBodyLeft: Bool, keeps: Bool) -> Bool {
        // The answer first: the web server may send the rest of a body only while somebody reads the answer.
        if keeps, isBodyLeft { FCGX_FFlush(request.pointee.out) }
        // Without a body there is its end to read: a connection that is closed with bytes unread is reset.
        let isDrained = keeps || !isBodyLeft ? drain(sizeMax: Self.drainSizeMax) : false
        FCGX_FClose(request.pointee.err)
        let isWritten = FCGX_FClose(request.pointee.out) == 0
        // nginx sends no more of a body once it has the head of an answer, and takes the answer for whole when nothing
        // more can come. Caddy reads nothing of an answer before it has sent the whole body. Right for both is to say
        // that nothing more comes, and to read on.
        if !keeps, isBodyLeft {
            shutdown(request.pointee.ipcFd, Int32(SHUT_WR))
            _ = drain(sizeMax: Self.lingerSizeMax)
        }
        FCGX_Free(request, 0)
        return isDrained && isWritten
    }

    /// Reads and drops the rest of the body. False when there is more of it, or when it breaks off.
    private func drain(sizeMax: Int) -> Bool {
        var total = 0
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16_384) { buffer in
            while total < sizeMax {
                let count = Int(FCGX_GetStr(buffer.baseAddress, Int32(buffer.count), request.pointee.in))
                total = total &+ count
                if count < buffer.count { return FCGX_GetError(request.pointee.in) == 0 }
            }
            return false
        }
    }

    /// Ends a response so that nobody can take it for complete.
    ///
    /// nginx without `fastcgi_keep_conn` and Caddy both take a connection that just closes for the end of the body
    /// (FastCGI allows it). A record of an unknown version makes both give up, and the client sees a broken body.
    private func spoil() {
        FCGX_FFlush(request.pointee.out)
        let record: [UInt8] = [0xFF, 0, 0, 0, 0, 0, 0, 0]
        record.withUnsafeBytes { _ = write(request.pointee.ipcFd, $0.baseAddress, $0.count) }
    }
}

/// Makes request ids of 32 hexadecimal digits; the kernel is asked once for many.
struct RequestIDs {
    private var random: [UInt8] = []
    private static let idsPerFill = 64

    mutating func next() -> Bytes {
        if random.count < 16 { random = (try? Entropy.system.bytes(16 * Self.idsPerFill)) ?? [] }
        // Without randomness a request still has an id; it is a name for the log and nothing secret.
        guard random.count >= 16 else { return "00000000000000000000000000000000" }
        defer { random.removeLast(16) }
        return Bytes(Hex.encode(random.suffix(16)))
    }
}
