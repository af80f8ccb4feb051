internal import Base
internal import CCurl
internal import Glibc

/// The state of one hop while curl drives it: what the callbacks read and fill.
final class Exchange: GuardedConnection {
    let url: OutboundURL
    let request: HTTPRequest
    /// False after a redirect to another origin: credentials stay behind.
    let isSameOrigin: Bool
    /// Where the body goes. Without one curl has to wait with it.
    var sink: HTTPIncoming.Sink?
    /// What the sink threw.
    private(set) var sinkError: (any Error)?
    var handle: UnsafeMutableRawPointer?

    var response = HTTPResponseHead()
    var fault: HTTPClientError?
    /// The `Location`, when this response redirects and the request asks that redirects mean something.
    private(set) var redirect: Bytes?

    /// What is left to send of a body that is a file.
    var upload: UploadedFile?

    private var headerCount = 0
    private var headerSize = 0
    private var bodyCount = 0
    private var headIsComplete = false

    init(url: OutboundURL, request: HTTPRequest, isSameOrigin: Bool) {
        self.url = url
        self.request = request
        self.isSameOrigin = isSameOrigin
        super.init(isPrivateAllowed: url.isPrivateAllowed)
    }

    /// Whether the head has come that is no interim one (RFC 9110 §15.2).
    var hasFinalHead: Bool { headIsComplete && response.status >= 200 }

    /// One header line, the status line and the empty line included. False ends the exchange.
    func take(line: Bytes) -> Bool {
        headerCount += 1
        headerSize += line.count
        // The status line and the empty line are no fields.
        guard headerCount <= HTTPClient.headerCountMax + 2, headerSize <= HTTPClient.headerSizeMax else {
            fault = .tooLarge
            return false
        }
        if bodyCount > 0 { return true }  // trailers mean nothing here
        var content = line
        while let last = content.last, last == 0x0A || last == 0x0D { content = content.upTo(content.count - 1) }
        if content.isEmpty { return finishHead() }
        // A status line: the first, or the one after an interim response (1xx).
        if content.starts(with: "HTTP/") {
            headIsComplete = false
            response = HTTPResponseHead()
            return true
        }
        guard !headIsComplete else { return true }
        guard let colon = content.position(of: 0x3A), content.upTo(colon).allSatisfy({ HTTPSyntax.isToken($0) }) else {
            fault = .malformedResponse
            return false
        }
        let name = content.upTo(colon).lowercasedASCII
        let value = content.from(colon + 1).trimming(HTTPSyntax.optionalWhitespace)
        // Two lengths are two messages (RFC 9112 §6.3): nobody knows which one the sender meant.
        if name == "content-length", let earlier = response[name], earlier != value {
            fault = .malformedResponse
            return false
        }
        response.headers.append((name, value))
        return true
    }

    private func finishHead() -> Bool {
        if headIsComplete { return true }
        response.status = handle.map { Int(CCurl_responseCode($0)) } ?? 0
        headIsComplete = true
        switch response.status {
        case 301, 302, 303, 307, 308:
            let locations = response.headers.filter { $0.name == "location" }
            guard request.redirects != .returned, !locations.isEmpty else { return true }
            let isFollowable = request.method == .get || request.method == .head
            guard locations.count == 1, isFollowable, request.redirects != .refused else {
                fault = .redirectNotAllowed
                return false
            }
            redirect = locations[0].value
        default: break
        }
        return true
    }

    enum Taking { case taken, refused, later }

    /// A piece of the body: taken, or refused, which ends the exchange, or to be offered again later.
    func take(body piece: UnsafeRawBufferPointer) -> Taking {
        if redirect == nil, sink == nil { return .later }
        bodyCount &+= piece.count
        guard bodyCount <= (redirect == nil ? request.sizeMax : HTTPClient.redirectBodySizeMax) else {
            fault = .tooLarge
            return .refused
        }
        guard redirect == nil, let sink else { return .taken }
        do {
            try sink(piece)
            return .taken
        } catch {
            sinkError = error
            return .refused
        }
    }
}

/// The options of one exchange, and the C memory that they point to.
final class Options: CurlOptions {
    private let exchange: Exchange
    private var bodyCopy: UnsafeMutableRawPointer?

    init(handle: CurlHandle, exchange: Exchange, configuration: HTTPClient.Configuration) {
        self.exchange = exchange
        super.init(handle: handle, configuration: configuration)
    }

    override func free() {
        super.free()
        bodyCopy?.deallocate()
        bodyCopy = nil
    }

    /// Sets everything; false when curl refused anything (it must then not be used).
    func apply(milliseconds: Int) -> Bool {
        setGuards(milliseconds: milliseconds)
        setCallbacks()
        setMessage()
        return isGood
    }

    private func setGuards(milliseconds: Int) {
        let request = exchange.request
        setGuards(
            exchange, protocol: exchange.url.isSecure ? "https" : "http", host: exchange.url.host,
            port: exchange.url.port, milliseconds: milliseconds)
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        set(CURLOPT_LOW_SPEED_LIMIT, HTTPClient.slowBytesPerSecond)
        set(CURLOPT_LOW_SPEED_TIME, request.slowSeconds)
        // 0 would mean no limit, and a HEAD declares a body that never comes.
        let declaredMax = request.method == .head ? 0 : curl_off_t(max(1, request.sizeMax))
        isGood = CCurl_setSize(handle, CURLOPT_MAXFILESIZE_LARGE, declaredMax) == CURLE_OK && isGood
    }

    private func setCallbacks() {
        let context = Unmanaged.passUnretained(exchange).toOpaque()
        let results = [
            CCurl_setPointer(handle, CURLOPT_CURLU, UnsafeRawPointer(exchange.url.handle)),
            CCurl_setDataFunction(handle, CURLOPT_HEADERFUNCTION, takeHeaderLine),
            CCurl_setPointer(handle, CURLOPT_HEADERDATA, context),
            CCurl_setDataFunction(handle, CURLOPT_WRITEFUNCTION, takeBodyPiece),
            CCurl_setPointer(handle, CURLOPT_WRITEDATA, context),
        ]
        isGood = results.allSatisfy { $0 == CURLE_OK } && isGood
    }

    /// Fields that stay behind when a redirect leaves the origin.
    private static let credentials: Set<Bytes> = ["authorization", "cookie", "dpop"]

    private func setMessage() {
        let request = exchange.request
        switch request.method {
        case .get: set(CURLOPT_HTTPGET, 1)
        case .head: set(CURLOPT_NOBODY, 1)
        case .post: set(CURLOPT_POST, 1)
        case .put, .delete: set(CURLOPT_CUSTOMREQUEST, Bytes(request.method.rawValue))
        }
        if let body = request.body ?? (request.method == .post ? Bytes() : nil) { setBody(body) }
        if let upload = request.upload { setUpload(upload) }
        set(CURLOPT_USERAGENT, configuration.userAgent)
        var lines: [Bytes] = []
        // curl would add these of itself. It signs lines like these as if they were sent (libcurl 7.88); a signed
        // request has no body that would get the second, and its server can tell what it expects.
        if request.signature == nil {
            lines = ["Expect:"]
            if !request.headers.contains(where: { $0.name.lowercasedASCII == "content-type" }) {
                lines.append("Content-Type:")
            }
        }
        for (name, value) in request.headers
        where exchange.isSameOrigin || !Self.credentials.contains(name.lowercasedASCII) {
            lines.append(value.isEmpty ? name + ";" : name + ": " + value)
        }
        if let signature = request.signature { lines.append(setSignature(signature)) }
        set(CURLOPT_HTTPHEADER, lines)
    }

    /// Returns the field that says what was signed of the body.
    private func setSignature(_ signature: AWSSignature) -> Bytes {
        set(CURLOPT_AWS_SIGV4, "aws:amz:" + signature.region + ":" + signature.service)
        set(CURLOPT_USERNAME, signature.accessKeyID)
        signature.secretAccessKey.withBytes { set(CURLOPT_PASSWORD, Bytes($0)) }
        return "x-amz-content-sha256: " + signature.contentDigest
    }

    private func setUpload(_ upload: HTTPUpload) {
        do throws(SystemError) {
            guard let file = try FileHandle.openExisting(upload.path) else { return isGood = false }
            exchange.upload = UploadedFile(file: file, size: upload.size)
        } catch {
            return isGood = false
        }
        set(CURLOPT_UPLOAD, 1)
        let context = Unmanaged.passUnretained(exchange).toOpaque()
        isGood =
            CCurl_setReadFunction(handle, giveUploadPiece) == CURLE_OK
            && CCurl_setPointer(handle, CURLOPT_READDATA, context) == CURLE_OK
            && CCurl_setSeekFunction(handle, seekUpload) == CURLE_OK
            && CCurl_setPointer(handle, CURLOPT_SEEKDATA, context) == CURLE_OK
            && CCurl_setSize(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(upload.size)) == CURLE_OK && isGood
    }

    private func setBody(_ body: Bytes) {
        let copy = UnsafeMutableRawPointer.allocate(byteCount: max(1, body.count), alignment: 16)
        body.withUnsafeBytes { source in
            if let base = source.baseAddress { copy.copyMemory(from: base, byteCount: source.count) }
        }
        bodyCopy = copy
        let size = CCurl_setSize(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
        let fields = CCurl_setPointer(handle, CURLOPT_POSTFIELDS, copy)
        isGood = size == CURLE_OK && fields == CURLE_OK && isGood
    }
}

/// A file on its way out.
struct UploadedFile {
    let file: FileHandle
    let size: Int
    var offset = 0
}

private func giveUploadPiece(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let buffer, let context, let room = size.multipliedOrNil(by: count) else { return CCurl_readAbort }
    let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    guard let upload = exchange.upload else { return CCurl_readAbort }
    let wanted = min(room, upload.size - upload.offset)
    if wanted == 0 { return 0 }
    let target = UnsafeMutableRawBufferPointer(start: buffer, count: wanted)
    // A file that is shorter than was said, or can't be read: the request must not look whole.
    guard let got = try? upload.file.read(at: upload.offset, into: target), got > 0 else { return CCurl_readAbort }
    exchange.upload?.offset += got
    return got
}

/// A kept connection may turn out to be gone when the body was begun: curl takes another, and begins anew.
private func seekUpload(_ context: UnsafeMutableRawPointer?, _ offset: curl_off_t, _ origin: Int32) -> Int32 {
    guard let context, origin == SEEK_SET else { return CURL_SEEKFUNC_CANTSEEK }
    let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    guard let upload = exchange.upload, (0...upload.size).contains(Int(offset)) else { return CURL_SEEKFUNC_FAIL }
    exchange.upload?.offset = Int(offset)
    return CURL_SEEKFUNC_OK
}

extension Int {
    fileprivate func multipliedOrNil(by other: Int) -> Int? {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? nil : product
    }
}

private func takeHeaderLine(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let context else { return 0 }
    let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    // curl always passes size 1.
    return exchange.take(line: Bytes(UnsafeRawBufferPointer(start: bytes, count: count))) ? count : 0
}

private func takeBodyPiece(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let context, count > 0 else { return 0 }
    let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    switch exchange.take(body: UnsafeRawBufferPointer(start: bytes, count: count)) {
    case .taken: return count
    case .refused: return 0
    case .later: return CCurl_pauseBody
    }
}
