internal import Base
internal import CCurl
internal import Glibc

/// When an exchange must have got somewhere, in monotonic nanoseconds.
struct Deadlines {
    let head: UInt64
    let whole: UInt64

    init(_ request: HTTPRequest) {
        let now = Clock.monotonicNanoseconds()
        let ofHead = min(request.headMilliseconds ?? request.deadlineMilliseconds, request.deadlineMilliseconds)
        whole = now &+ UInt64(request.deadlineMilliseconds) &* 1_000_000
        head = now &+ UInt64(ofHead) &* 1_000_000
    }
}

/// A pooled easy handle and the multi handle that drives it and keeps its connections. curl's rule is one thread at a
/// time, which the pool sees to.
final class CurlHandle {
    let easy: UnsafeMutableRawPointer
    let multi: UnsafeMutableRawPointer

    init?() {
        guard Self.isCurlReady, let multi = curl_multi_init() else { return nil }
        guard let easy = curl_easy_init() else {
            curl_multi_cleanup(multi)
            return nil
        }
        self.multi = multi
        self.easy = easy
        _ = CCurl_multiSetLong(multi, CURLMOPT_MAXCONNECTS, HTTPClient.connectionsKept)
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_multi_cleanup(multi)
    }

    /// Forgets every option; connections are kept.
    func reset() { curl_easy_reset(easy) }

    /// Once in a process, before any thread uses curl. A broken connection must be an error and never SIGPIPE
    /// (curl_easy_setopt(3) asks that of whoever sets CURLOPT_NOSIGNAL).
    private static let isCurlReady: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK
    }()
}

/// A handle out of the pool, until nobody holds this any more.
final class HandleLease {
    let handle: CurlHandle
    private let pool: Guarded<[CurlHandle]>

    init?(from pool: Guarded<[CurlHandle]>) {
        guard let handle = pool.withLock({ $0.popLast() }) ?? CurlHandle() else { return nil }
        self.handle = handle
        self.pool = pool
    }

    deinit {
        handle.reset()
        pool.withLock { if $0.count < HTTPClient.handlesKept { $0.append(handle) } }
    }
}

/// One hop under way: curl is driven as far as the reader wants, on the reader's thread.
final class Transfer {
    private let lease: HandleLease
    private let exchange: Exchange
    private let options: Options
    private let deadlines: Deadlines
    /// How curl ended, once it has.
    private var result: CURLcode?

    /// Throws `timeout` when there is no time left, and `invalidRequest` when curl refuses an option.
    init(
        _ exchange: Exchange, on lease: HandleLease, _ configuration: HTTPClient.Configuration, _ deadlines: Deadlines
    ) throws(HTTPClientError) {
        self.lease = lease
        self.exchange = exchange
        self.deadlines = deadlines
        lease.handle.reset()
        options = Options(handle: lease.handle, exchange: exchange, configuration: configuration)
        let now = Clock.monotonicNanoseconds()
        guard now < deadlines.head else { throw .timeout }
        guard options.apply(milliseconds: Int(min((deadlines.whole - now) / 1_000_000, 1_000_000_000)) + 1),
            curl_multi_add_handle(lease.handle.multi, lease.handle.easy) == CURLM_OK
        else { throw .invalidRequest }
        exchange.handle = lease.handle.easy
    }

    deinit {
        // A transfer that has not ended takes its connection with it.
        curl_multi_remove_handle(lease.handle.multi, lease.handle.easy)
        exchange.handle = nil
        options.free()
    }

    /// Returns when the final head is whole and not yet a byte of the body was taken; of a redirect, when all of it
    /// has come.
    func readHead() throws(HTTPClientError) {
        drive(before: deadlines.head) { exchange.hasFinalHead && exchange.redirect == nil }
        if result != nil || exchange.fault != nil { try check() }
        guard exchange.hasFinalHead else { throw .malformedResponse }
    }

    func readBody(into sink: HTTPIncoming.Sink) throws {
        guard result == nil else { return }
        try withoutActuallyEscaping(sink) { sink in
            exchange.sink = sink
            defer { exchange.sink = nil }
            // Hands over the piece that came with the head, if one did.
            let code = curl_easy_pause(lease.handle.easy, CURLPAUSE_CONT)
            if code != CURLE_OK {
                result = code
            } else {
                drive(before: deadlines.whole) { false }
            }
            if let error = exchange.sinkError { throw error }
            try check()
        }
    }

    /// Lets curl work until `isReached`, until it has ended, or until `deadline`.
    private func drive(before deadline: UInt64, until isReached: () -> Bool) {
        let multi = lease.handle.multi
        while true {
            var running: Int32 = 0
            guard curl_multi_perform(multi, &running) == CURLM_OK else {
                result = CURLE_OUT_OF_MEMORY
                return
            }
            var code = CURLE_OK
            if CCurl_takeResult(multi, &code) != 0 { result = code }
            if result != nil || isReached() { return }
            let now = Clock.monotonicNanoseconds()
            guard now < deadline else {
                exchange.fault = .timeout
                return
            }
            let wait = Int32(min((deadline - now) / 1_000_000 + 1, 1_000))
            guard curl_multi_poll(multi, nil, 0, wait, nil) == CURLM_OK else {
                result = CURLE_OUT_OF_MEMORY
                return
            }
        }
    }

    private func check() throws(HTTPClientError) {
        if exchange.addressRefused { throw .addressNotAllowed }
        if let fault = exchange.fault { throw fault }
        if let result, let error = Self.error(for: result) { throw error }
    }

    /// No TLS, or a certificate that doesn't hold for the name.
    static let tlsCodes: Set<UInt32> = Set(
        [
            CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED,
        ].map(\.rawValue))

    static func error(for code: CURLcode) -> HTTPClientError? {
        switch code {
        case CURLE_OK: nil
        case CURLE_OPERATION_TIMEDOUT: .timeout
        case CURLE_FILESIZE_EXCEEDED: .tooLarge
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_SEND_ERROR: .unreachable
        case _ where tlsCodes.contains(code.rawValue): .tls
        case CURLE_URL_MALFORMAT: .invalidURL(.malformed)
        default: .malformedResponse
        }
    }
}
