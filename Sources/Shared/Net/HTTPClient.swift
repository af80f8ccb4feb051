public import Base
internal import CCurl
internal import Glibc

/// The one way out: HTTP/1.1 over libcurl, with the guards of reliability rows C1–C5.
///
/// What is connected to is decided on the socket address, in the moment before the socket exists. Nothing comes from
/// the environment (proxies, netrc), nothing is decompressed, nothing is unbounded. Blocking; any number of threads
/// may call `send` at once: handles with their kept connections are pooled.
public final class HTTPClient: Sendable {
    public struct Configuration: Sendable {
        public var userAgent: Bytes = "skystead"
        /// A PEM file with certificate authorities to trust beside the system's.
        public var extraCAFile: Bytes?
        /// Names with the addresses to use instead of DNS. An address is checked like any other.
        public var hostOverrides: [Bytes: Bytes] = [:]
        /// Hosts (`name`, `address`, or either with `:port`) for which http, any port and any address are admitted.
        public var privateHostsAllowed: Set<Bytes> = []

        public init() {}

        /// The same with every name in lower case, as names are compared.
        var canonical: Configuration {
            var canonical = self
            canonical.privateHostsAllowed = Set(privateHostsAllowed.map(\.lowercasedASCII))
            canonical.hostOverrides = [:]
            for (name, address) in hostOverrides { canonical.hostOverrides[name.lowercasedASCII] = address }
            return canonical
        }
    }

    /// Below this rate for `slowSeconds` an exchange is given up.
    public static let slowBytesPerSecond = 1_000
    /// Response header fields, trailers and interim responses included.
    public static let headerCountMax = 64
    public static let headerSizeMax = 32_768
    public static let connectMilliseconds = 5_000
    /// Idle handles that are kept, each with at most `connectionsKept` connections.
    static let handlesKept = 16
    static let connectionsKept = 4
    /// The longest body of a response that only redirects.
    static let redirectBodySizeMax = 65_536
    static let redirectsMax = 10

    private let configuration: Configuration
    private let idle = Guarded<[Handle]>([])

    public init(_ configuration: Configuration = Configuration()) {
        self.configuration = configuration.canonical
    }

    /// Throws what `send` would throw for the URL alone: for addresses that are kept now and fetched later.
    public func check(_ url: Bytes) throws(HTTPClientError) {
        _ = try parse(url)
    }

    /// Sends `request` and collects the body, at most `request.sizeMax` bytes of it. Any status is a response.
    public func send(_ request: HTTPRequest) throws(HTTPClientError) -> HTTPResponse {
        var body: [UInt8] = []
        let head = try send(request, head: { _ in true }) {
            body.append(contentsOf: $0)
            return true
        }
        return HTTPResponse(status: head.status, headers: head.headers, body: body)
    }

    /// Sends `request`; calls `head` once, then `body` with each piece. Either may return false, which ends the
    /// exchange with `stopped`. When this throws after `head` was called, the body is broken.
    @discardableResult
    public func send(
        _ request: HTTPRequest, head: (HTTPResponseHead) -> Bool, body: (UnsafeRawBufferPointer) -> Bool
    ) throws(HTTPClientError) -> HTTPResponseHead {
        guard Self.isSendable(request) else { throw .invalidRequest }
        let deadline = Clock.monotonicNanoseconds() &+ UInt64(request.deadlineMilliseconds) &* 1_000_000
        let handle = idle.withLock { $0.popLast() } ?? Handle()
        guard let handle else { throw .unreachable }
        defer {
            handle.reset()
            idle.withLock { if $0.count < Self.handlesKept { $0.append(handle) } }
        }
        var url = try parse(request.url)
        let origin = (url.host, url.port, url.isSecure)
        var hops = 0
        while true {
            let exchange = Exchange(
                url: url, request: request, isSameOrigin: origin == (url.host, url.port, url.isSecure))
            do throws(HTTPClientError) {
                let result = try perform(exchange, on: handle, deadline: deadline, head: head, body: body)
                guard let location = exchange.redirect else { return result }
                guard case .followed(let max) = request.redirects, hops < min(max, Self.redirectsMax),
                    let next = url.resolving(location)
                else { throw .redirectNotAllowed }
                url = try parse(next)
                hops += 1
            } catch {
                switch error {
                // Where a stranger's redirect leads is the stranger's doing, not a wrong address of the caller's.
                case .invalidURL where exchange.redirect != nil: throw .redirectNotAllowed
                case .addressNotAllowed where hops > 0: throw .redirectNotAllowed
                default: throw error
                }
            }
        }
    }

    private func parse(_ text: Bytes) throws(HTTPClientError) -> OutboundURL {
        do throws(URLFault) {
            return try OutboundURL.parse(text, privateHosts: configuration.privateHostsAllowed)
        } catch {
            throw .invalidURL(error)
        }
    }

    /// Fields that frame the message, which only the client may make.
    private static let ownHeaders: Set<Bytes> = [
        "connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    private static func isSendable(_ request: HTTPRequest) -> Bool {
        guard request.deadlineMilliseconds > 0, request.sizeMax >= 0, request.slowSeconds > 0 else { return false }
        return request.headers.allSatisfy { name, value in
            !name.isEmpty && name.allSatisfy { HTTPSyntax.isToken($0) } && !ownHeaders.contains(name.lowercasedASCII)
                && value.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        }
    }

    private func perform(
        _ exchange: Exchange, on handle: Handle, deadline: UInt64, head: (HTTPResponseHead) -> Bool,
        body: (UnsafeRawBufferPointer) -> Bool
    ) throws(HTTPClientError) -> HTTPResponseHead {
        let now = Clock.monotonicNanoseconds()
        guard now < deadline else { throw .timeout }
        handle.reset()
        let options = Options(handle: handle, exchange: exchange, configuration: configuration)
        defer { options.free() }
        guard options.apply(milliseconds: Int(min((deadline - now) / 1_000_000, 1_000_000_000)) + 1) else {
            throw .invalidRequest
        }
        let code = withoutActuallyEscaping(head) { head in
            withoutActuallyEscaping(body) { body in
                exchange.head = head
                exchange.body = body
                defer {
                    exchange.head = nil
                    exchange.body = nil
                }
                let code = withExtendedLifetime(exchange) { handle.perform(exchange) }
                if code == CURLE_OK, !exchange.giveHead() { exchange.fault = .stopped }
                return code
            }
        }
        if exchange.addressRefused { throw .addressNotAllowed }
        if let fault = exchange.fault { throw fault }
        if let error = Self.error(for: code) { throw error }
        return exchange.response
    }

    /// No TLS, or a certificate that doesn't hold for the name.
    static let tlsCodes: Set<UInt32> = Set(
        [
            CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED,
        ].map(\.rawValue))

    private static func error(for code: CURLcode) -> HTTPClientError? {
        switch code {
        case CURLE_OK: nil
        case CURLE_OPERATION_TIMEDOUT: .timeout
        case CURLE_FILESIZE_EXCEEDED: .tooLarge
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_SEND_ERROR: .unreachable
        case _ where Self.tlsCodes.contains(code.rawValue): .tls
        case CURLE_URL_MALFORMAT: .invalidURL(.malformed)
        default: .malformedResponse
        }
    }
}

/// A pooled easy handle. curl's rule is one thread at a time, which the pool sees to.
final class Handle {
    let pointer: UnsafeMutableRawPointer

    init?() {
        guard Self.isCurlReady, let pointer = curl_easy_init() else { return nil }
        self.pointer = pointer
    }

    deinit { curl_easy_cleanup(pointer) }

    /// Forgets every option; connections are kept.
    func reset() { curl_easy_reset(pointer) }

    func perform(_ exchange: Exchange) -> CURLcode {
        exchange.handle = pointer
        defer { exchange.handle = nil }
        return curl_easy_perform(pointer)
    }

    /// Once in a process, before any thread uses curl. A broken connection must be an error and never SIGPIPE
    /// (curl_easy_setopt(3) asks that of whoever sets CURLOPT_NOSIGNAL).
    private static let isCurlReady: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK
    }()
}
