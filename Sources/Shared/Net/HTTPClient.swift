public import Base

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
        /// False only for a look at what a server offers, certificate included: nothing secret may then be sent and
        /// nothing that comes be believed.
        public var verifiesCertificates = true

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

    let configuration: Configuration
    private let idle = Guarded<[CurlHandle]>([])

    public init(_ configuration: Configuration = Configuration()) {
        self.configuration = configuration.canonical
    }

    /// Throws what `send` would throw for the URL alone: for addresses that are kept now and fetched later.
    public func check(_ url: Bytes) throws(HTTPClientError) {
        _ = try parse(url, sizeMax: HTTPRequest(.get, url).urlSizeMax)
    }

    /// Sends `request` and collects the body, at most `request.sizeMax` bytes of it. Any status is a response.
    public func send(_ request: HTTPRequest) throws(HTTPClientError) -> HTTPResponse {
        let incoming = try open(request)
        return HTTPResponse(
            status: incoming.head.status, headers: incoming.head.headers, body: try incoming.collect())
    }

    /// Sends `request` and returns as soon as the head of the response is there, whatever its status.
    ///
    /// The body is read by the thread that has the value, when it wants it: until then curl is not called, and the
    /// sender is held back by TCP. Memory does not grow with the body.
    public func open(_ request: HTTPRequest) throws(HTTPClientError) -> HTTPIncoming {
        guard Self.isSendable(request) else { throw .invalidRequest }
        let deadlines = Deadlines(request)
        guard let lease = HandleLease(from: idle) else { throw .unreachable }
        var url = try parse(request.url, sizeMax: request.urlSizeMax)
        let origin = (url.host, url.port, url.isSecure)
        var hops = 0
        while true {
            let exchange = Exchange(
                url: url, request: request, isSameOrigin: origin == (url.host, url.port, url.isSecure))
            do throws(HTTPClientError) {
                let transfer = try Transfer(exchange, on: lease, configuration, deadlines)
                try transfer.readHead()
                guard let location = exchange.redirect else {
                    return HTTPIncoming(head: exchange.response) { try transfer.readBody(into: $0) }
                }
                guard case .followed(let max) = request.redirects, hops < min(max, Self.redirectsMax),
                    let next = url.resolving(location)
                else { throw .redirectNotAllowed }
                url = try parse(next, sizeMax: request.urlSizeMax)
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

    func parse(_ text: Bytes, sizeMax: Int) throws(HTTPClientError) -> OutboundURL {
        do throws(URLFault) {
            return try OutboundURL.parse(text, privateHosts: configuration.privateHostsAllowed, sizeMax: sizeMax)
        } catch {
            throw .invalidURL(error)
        }
    }

    /// Fields that frame the message, which only the client may make.
    private static let ownHeaders: Set<Bytes> = [
        "connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    private static func isSendable(_ request: HTTPRequest) -> Bool {
        if request.upload != nil, request.method != .put || request.body != nil { return false }
        if request.signature != nil, request.redirects != .refused { return false }
        guard request.deadlineMilliseconds > 0, request.headMilliseconds ?? 1 > 0, request.sizeMax >= 0,
            request.slowSeconds > 0
        else { return false }
        return request.headers.allSatisfy { name, value in
            !name.isEmpty && name.allSatisfy { HTTPSyntax.isToken($0) } && !ownHeaders.contains(name.lowercasedASCII)
                && value.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        }
    }
}
