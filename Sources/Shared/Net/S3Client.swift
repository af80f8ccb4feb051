public import Base

/// Why object storage did not do what was asked.
public enum S3Error: Error, Equatable, Sendable, CustomStringConvertible {
    /// It did not answer, or not usably.
    case network(HTTPClientError)
    /// It answered with this status and S3's own code, such as `AccessDenied`.
    case refused(status: Int, code: Bytes)
    /// A key that this client does not make.
    case invalidKey

    public var description: String {
        switch self {
        case .network(let error): "it cannot be asked (\(error))"
        case .refused(let status, let code): "it answers \(status)\(code.isEmpty ? "" : " \(code)")"
        case .invalidKey: "a key that is none"
        }
    }
}

extension S3Error: Reportable {
    public var failure: Failure {
        switch self {
        case .network(.timeout), .network(.unreachable), .network(.tls), .network(.malformedResponse),
            .refused(status: 500...599, _):
            Failure(.unavailable, "ServiceUnavailable", "The storage for blobs does not answer. Try again.")
        default: .internalError
        }
    }
}

/// Objects in a bucket of S3 or what speaks like it (path-style addresses, Signature Version 4).
///
/// Keys are of this program's making: letters, digits, `-`, `.`, `_` and `/`, which no part of a signature has to
/// escape.
public struct S3Client: Sendable {
    public static let keySizeMax = 512
    /// How long one request may take; an object of 100 MB over 10 Mbit/s takes 80 s.
    public static let deadlineMilliseconds = 300_000
    /// How long storing may take where somebody waits for the answer: the web server does for 60 s, and a process that
    /// is asked to stop finishes what it has begun within `SKYSTEAD_DRAIN_SECONDS`.
    public static let storeMilliseconds = 50_000
    /// Keys that one listing gives; S3's own limit.
    public static let listCountMax = 1_000
    /// The longest object: S3's own limit for one request.
    public static let objectSizeMax = 5 << 30
    private static let listSizeMax = 4 << 20
    private static let errorSizeMax = 16_384
    /// SHA-256 of nothing.
    private static let emptyDigest: Bytes = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// Where the bucket is and who asks.
    public struct Bucket: Sendable {
        /// `https://s3.example`, without a slash at the end.
        public var endpoint: Bytes
        public var name: Bytes
        public var region: Bytes
        public var accessKeyID: Bytes
        public var secretAccessKey: Secret

        public init(endpoint: Bytes, name: Bytes, region: Bytes, accessKeyID: Bytes, secretAccessKey: Secret) {
            self.endpoint = endpoint
            self.name = name
            self.region = region
            self.accessKeyID = accessKeyID
            self.secretAccessKey = secretAccessKey
        }
    }

    private let client: HTTPClient
    private let bucket: Bucket
    private let storeMilliseconds: Int

    /// With `isPatient`, storing may take `deadlineMilliseconds` too: nobody waits for an answer.
    public init(client: HTTPClient, bucket: Bucket, isPatient: Bool = false) {
        self.client = client
        self.bucket = bucket
        storeMilliseconds = isPatient ? Self.deadlineMilliseconds : Self.storeMilliseconds
    }

    /// Stores the file at `path` under `key`, durably once this returns. `digest` is its SHA-256 in hexadecimal: the
    /// storage refuses any other content.
    public func put(_ key: Bytes, path: String, size: Int, digest: Bytes, contentType: Bytes) throws(S3Error) {
        var request = try request(.put, key, digest: digest)
        request.headers = [("Content-Type", contentType)]
        request.upload = HTTPUpload(path: path, size: size)
        request.deadlineMilliseconds = storeMilliseconds
        try check(try open(request))
    }

    /// The object, or the bytes of it in `range`, and how many these are; nil when there is none. The body is read, or
    /// dropped.
    public func get(_ key: Bytes, range: Range<Int>? = nil) throws(S3Error) -> (size: Int, body: HTTPIncoming)? {
        var request = try request(.get, key)
        if let range { request.headers = [("Range", Bytes("bytes=\(range.lowerBound)-\(range.upperBound - 1)"))] }
        request.sizeMax = Self.objectSizeMax
        let incoming = try open(request)
        // Without its bucket nothing is missing: all of it is out of reach.
        if incoming.head.status == 404, case let refusal = refusal(incoming) {
            if refusal == .refused(status: 404, code: "NoSuchBucket") { throw refusal }
            return nil
        }
        guard incoming.head.status == (range == nil ? 200 : 206) else { throw refusal(incoming) }
        guard let size = incoming.head["content-length"]?.decimal else { throw .network(.malformedResponse) }
        return (size, incoming)
    }

    /// The size of the object in bytes, or nil when there is none.
    public func size(of key: Bytes) throws(S3Error) -> Int? {
        let incoming = try open(try request(.head, key))
        if incoming.head.status == 404 { return nil }
        guard incoming.head.status == 200 else { throw .refused(status: incoming.head.status, code: "") }
        guard let size = incoming.head["content-length"]?.decimal else { throw .network(.malformedResponse) }
        return size
    }

    /// Removes the object; nothing happens when there is none.
    public func delete(_ key: Bytes) throws(S3Error) {
        let incoming = try open(try request(.delete, key))
        if incoming.head.status != 404 { try check(incoming) }
    }

    /// The keys that begin with `prefix` and come after `key` in byte order, at most `limit` of them.
    public func list(prefix: Bytes, after key: Bytes = Bytes(), limit: Int = listCountMax) throws(S3Error) -> [Bytes] {
        guard Self.isKey(prefix), key.isEmpty || Self.isKey(key) else { throw .invalidKey }
        // In byte order of the names and escaped as the signature wants it: libcurl 7.88 signs a query as it stands.
        var query: Bytes = "list-type=2&max-keys=" + Bytes(String(min(max(1, limit), Self.listCountMax)))
        query = query + "&prefix=" + Self.escaped(prefix)
        if !key.isEmpty { query = query + "&start-after=" + Self.escaped(key) }
        var request = HTTPRequest(.get, bucket.endpoint + "/" + bucket.name + "?" + query, sizeMax: Self.listSizeMax)
        sign(&request, digest: Self.emptyDigest)
        let incoming = try open(request)
        guard incoming.head.status == 200 else { throw refusal(incoming) }
        let body: [UInt8]
        do throws(HTTPClientError) { body = try incoming.collect() } catch { throw .network(error) }
        return Self.elements("Key", in: Bytes(body))
    }

    // MARK: Requests

    private func request(_ method: HTTPRequest.Method, _ key: Bytes, digest: Bytes = emptyDigest) throws(S3Error)
        -> HTTPRequest
    {
        guard Self.isKey(key) else { throw .invalidKey }
        var request = HTTPRequest(
            method, bucket.endpoint + "/" + bucket.name + "/" + key, sizeMax: Self.errorSizeMax)
        sign(&request, digest: digest)
        return request
    }

    private func sign(_ request: inout HTTPRequest, digest: Bytes) {
        request.deadlineMilliseconds = Self.deadlineMilliseconds
        request.slowSeconds = 30
        request.signature = AWSSignature(
            region: bucket.region, service: "s3", accessKeyID: bucket.accessKeyID,
            secretAccessKey: bucket.secretAccessKey, contentDigest: digest)
    }

    private func open(_ request: HTTPRequest) throws(S3Error) -> HTTPIncoming {
        do throws(HTTPClientError) {
            return try client.open(request)
        } catch {
            throw .network(error)
        }
    }

    private func check(_ incoming: HTTPIncoming) throws(S3Error) {
        guard (200...299).contains(incoming.head.status) else { throw refusal(incoming) }
    }

    /// The `<Code>` of S3's error document.
    private func refusal(_ incoming: HTTPIncoming) -> S3Error {
        let body = (try? incoming.collect()).map { Bytes($0) } ?? Bytes()
        let code = Self.elements("Code", in: body).first ?? Bytes()
        return .refused(status: incoming.head.status, code: code.upTo(64))
    }

    static func isKey(_ key: Bytes) -> Bool {
        !key.isEmpty && key.count <= keySizeMax && key.first != 0x2F
            && key.allSatisfy { byte in
                switch byte {
                case 0x2D, 0x2E, 0x2F, 0x5F, 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: false
                }
            } && !key.split(on: 0x2F).contains { $0 == "." || $0 == ".." }
    }

    /// The slash is all that a key has to escape in a query.
    private static func escaped(_ key: Bytes) -> Bytes {
        Bytes(key.flatMap { $0 == 0x2F ? Array("%2F".utf8) : [$0] })
    }

    /// What stands between `<name>` and `</name>`, each time. Keys of this client have nothing that XML escapes.
    static func elements(_ name: Bytes, in text: Bytes) -> [Bytes] {
        let (begin, end) = ("<" + name + ">", "</" + name + ">")
        var found: [Bytes] = []
        var rest = text
        while let from = rest.position(ofPart: begin) {
            rest = rest.from(from + begin.count)
            guard let to = rest.position(ofPart: end) else { break }
            found.append(rest.upTo(to))
            rest = rest.from(to + end.count)
        }
        return found
    }
}

extension Bytes {
    /// Where `part` begins for the first time, or nil.
    fileprivate func position(ofPart part: Bytes) -> Int? {
        guard let initial = part.first else { return nil }
        var from = 0
        while let found = slice(from..<count).position(of: initial) {
            let at = from + found
            if self.from(at).starts(with: part) { return at }
            from = at + 1
        }
        return nil
    }
}
