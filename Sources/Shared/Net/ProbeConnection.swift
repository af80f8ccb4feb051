public import Base
internal import CCurl
internal import Glibc

/// What a server's certificate says of itself.
public struct PeerCertificate: Sendable, Equatable {
    /// The DNS names that it is for, in lower case; `*.` at the beginning stands for one label (RFC 6125 §6.4.3).
    public let names: [Bytes]
    /// `Nov 24 06:06:44 2026 GMT`, as OpenSSL writes it.
    public let notAfter: Bytes
    public let issuer: Bytes

    /// Whether it is for `host`.
    public func holds(for host: Bytes) -> Bool {
        let host = host.lowercasedASCII
        return names.contains { name in
            if name == host { return true }
            guard name.starts(with: "*."), let dot = host.position(of: 0x2E), dot > 0 else { return false }
            return host.from(dot) == name.from(1)
        }
    }
}

/// A connection through the client's guards on which the caller speaks itself: the opening of a WebSocket, the greeting
/// of a mail server, or nothing but a look at the certificate. For one thread.
public final class ProbeConnection {
    /// The certificate that the server showed; nil without TLS.
    public let certificate: PeerCertificate?
    private let handle: CurlHandle
    private let exchange: Exchange
    private let options: Options
    private let deadline: UInt64

    /// The longest answer that is collected.
    public static let receiveSizeMax = 65_536

    fileprivate init(_ handle: CurlHandle, _ exchange: Exchange, _ options: Options, deadline: UInt64) {
        self.handle = handle
        self.exchange = exchange
        self.options = options
        self.deadline = deadline
        certificate = exchange.url.isSecure ? Self.certificate(of: handle.easy) : nil
    }

    deinit { options.free() }

    /// Sends all of `bytes`. Throws `timeout`, `unreachable`.
    public func send(_ bytes: [UInt8]) throws(HTTPClientError) {
        var done = 0
        while done < bytes.count {
            var count = 0
            let code = bytes.withUnsafeBytes { raw in
                curl_easy_send(handle.easy, raw.baseAddress.map { $0 + done }, raw.count - done, &count)
            }
            switch code {
            case CURLE_OK: done += count
            case CURLE_AGAIN: try wait(POLLOUT)
            default: throw .unreachable
            }
        }
    }

    /// Collects what comes until `isWhole` says that it is enough, or the peer closes. Throws `timeout`, `tooLarge`.
    public func receive(until isWhole: (Bytes) -> Bool) throws(HTTPClientError) -> Bytes {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while !isWhole(Bytes(all)) {
            guard all.count < Self.receiveSizeMax else { throw .tooLarge }
            var count = 0
            let code = buffer.withUnsafeMutableBytes { raw in
                curl_easy_recv(handle.easy, raw.baseAddress, raw.count, &count)
            }
            switch code {
            case CURLE_OK where count > 0: all.append(contentsOf: buffer[..<count])
            case CURLE_AGAIN: try wait(POLLIN)
            // Closed, or broken off: what came is what there is.
            default: return Bytes(all)
            }
        }
        return Bytes(all)
    }

    private func wait(_ events: Int32) throws(HTTPClientError) {
        let now = Clock.monotonicNanoseconds()
        guard now < deadline else { throw .timeout }
        var socket = pollfd(fd: CCurl_activeSocket(handle.easy), events: Int16(events), revents: 0)
        guard poll(&socket, 1, Int32(clamping: (deadline - now) / 1_000_000 + 1)) > 0 else { throw .timeout }
    }

    /// The first certificate of the chain: the server's own.
    private static func certificate(of handle: UnsafeMutableRawPointer) -> PeerCertificate? {
        guard let chain = CCurl_certificates(handle), chain.pointee.num_of_certs > 0, let lists = chain.pointee.certinfo
        else { return nil }
        var names: [Bytes] = []
        var notAfter = Bytes()
        var issuer = Bytes()
        var item = lists[0]
        while let current = item {
            if let data = current.pointee.data {
                let line = Bytes(UnsafeRawBufferPointer(start: data, count: strlen(data)))
                if let value = value(of: "Expire date:", in: line) { notAfter = value }
                if let value = value(of: "Issuer:", in: line) { issuer = value }
                if let value = value(of: "X509v3 Subject Alternative Name:", in: line) {
                    names = value.split(on: 0x2C).map { $0.trimming(" ") }.compactMap { Self.value(of: "DNS:", in: $0) }
                }
            }
            item = current.pointee.next
        }
        return PeerCertificate(names: names.map(\.lowercasedASCII), notAfter: notAfter, issuer: issuer)
    }

    private static func value(of name: Bytes, in line: Bytes) -> Bytes? {
        line.starts(with: name) ? line.from(name.count) : nil
    }
}

extension HTTPClient {
    /// Connects to the host and port of `url`, with TLS for https, and sends nothing. Its guards are those of `send`.
    /// Throws what `send` throws before the first byte.
    public func connect(_ url: Bytes, deadlineMilliseconds: Int = 10_000) throws(HTTPClientError) -> ProbeConnection {
        var request = HTTPRequest(.get, url)
        request.deadlineMilliseconds = max(1, deadlineMilliseconds)
        let deadline = Clock.monotonicNanoseconds() &+ UInt64(request.deadlineMilliseconds) &* 1_000_000
        guard let handle = CurlHandle() else { throw .unreachable }
        let exchange = Exchange(url: try parse(url, sizeMax: request.urlSizeMax), request: request, isSameOrigin: true)
        let options = Options(handle: handle, exchange: exchange, configuration: configuration)
        guard options.applyForProbe(milliseconds: request.deadlineMilliseconds) else {
            options.free()
            throw .invalidRequest
        }
        let code = curl_easy_perform(handle.easy)
        if exchange.addressRefused || code != CURLE_OK { options.free() }
        if exchange.addressRefused { throw .addressNotAllowed }
        if let error = Transfer.error(for: code) { throw error }
        return ProbeConnection(handle, exchange, options, deadline: deadline)
    }
}

extension Options {
    /// The guards, and only the connection.
    func applyForProbe(milliseconds: Int) -> Bool {
        guard apply(milliseconds: milliseconds) else { return false }
        set(CURLOPT_CONNECT_ONLY, 1)
        set(CURLOPT_CERTINFO, 1)
        // What is spoken is not known here: it may be SMTP.
        set(CURLOPT_SSL_ENABLE_ALPN, 0)
        return isGood
    }
}
