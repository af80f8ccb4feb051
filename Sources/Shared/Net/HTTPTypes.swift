public import Base

/// One outbound request. Every limit is a field with a strict default; the caller loosens what it must.
public struct HTTPRequest: Sendable {
    public enum Method: String, Sendable {
        case get = "GET"
        case head = "HEAD"
        case post = "POST"
        case put = "PUT"
        case delete = "DELETE"
    }

    /// What a 301, 302, 303, 307 or 308 with a `Location` means.
    public enum Redirects: Sendable, Equatable {
        /// An error: client metadata, keys and DID documents must be at their address (OAuth client id metadata).
        case refused
        /// Up to `max` hops, for `GET` and `HEAD`; each hop passes every check again.
        case followed(max: Int)
        /// The caller gets the response as it is.
        case returned
    }

    public var method: Method
    public var url: Bytes
    /// Fields to send. `Host`, `Content-Length`, `Connection` and `Transfer-Encoding` are the client's to make.
    public var headers: [(name: Bytes, value: Bytes)]
    public var body: Bytes?
    /// A body that is read from a file as it is sent, instead of `body`. For `PUT` only.
    public var upload: HTTPUpload?
    /// How the request is signed, for object storage. A signed request follows no redirect.
    public var signature: AWSSignature?
    /// The longest URL in bytes, hops included.
    public var urlSizeMax = 2_048
    /// The whole exchange, hops included.
    public var deadlineMilliseconds = 10_000
    /// How long the head of the response may take, hops included; nil: as long as the whole exchange.
    public var headMilliseconds: Int?
    /// The longest response body in bytes; one byte more is `tooLarge`.
    public var sizeMax: Int
    public var redirects: Redirects
    /// The exchange ends with `timeout` when it stays below `HTTPClient.slowBytesPerSecond` for so long.
    public var slowSeconds = 5

    public init(
        _ method: Method = .get, _ url: Bytes, headers: [(name: Bytes, value: Bytes)] = [], body: Bytes? = nil,
        sizeMax: Int = 65_536, redirects: Redirects = .refused
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.sizeMax = sizeMax
        self.redirects = redirects
    }
}

/// A file that becomes the body of a request.
public struct HTTPUpload: Sendable {
    let path: String
    let size: Int

    /// The first `size` bytes of the file at `path`.
    public init(path: String, size: Int) {
        self.path = path
        self.size = size
    }
}

/// AWS Signature Version 4 in the `Authorization` header, which S3 and what speaks like it asks for. libcurl makes it.
public struct AWSSignature: Sendable {
    let region: Bytes
    let service: Bytes
    let accessKeyID: Bytes
    let secretAccessKey: Secret
    let contentDigest: Bytes

    /// `contentDigest` is the SHA-256 of the body in hexadecimal: it is signed, and the server holds the body to it.
    public init(
        region: Bytes, service: Bytes, accessKeyID: Bytes, secretAccessKey: Secret, contentDigest: Bytes
    ) {
        self.region = region
        self.service = service
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.contentDigest = contentDigest
    }
}

/// The status line and the fields of a response: names in lower case, values as sent, in the order of arrival.
public struct HTTPResponseHead: Sendable {
    public internal(set) var status: Int
    public internal(set) var headers: [(name: Bytes, value: Bytes)]

    public init(status: Int = 0, headers: [(name: Bytes, value: Bytes)] = []) {
        self.status = status
        self.headers = headers
    }

    /// The first value of `name` (lower case), or nil.
    public subscript(_ name: Bytes) -> Bytes? { headers.first { $0.name == name }?.value }
}

/// A response whose head has come; its body waits to be read. A value that is dropped unread gives the body up.
public struct HTTPIncoming {
    /// Takes one piece of a body. What it throws ends the exchange.
    public typealias Sink = (UnsafeRawBufferPointer) throws -> Void

    public let head: HTTPResponseHead
    private let body: (Sink) throws -> Void

    /// `body` hands each piece to the sink that it is given, and throws `HTTPClientError` when the body is not whole.
    public init(head: HTTPResponseHead, body: @escaping (Sink) throws -> Void) {
        self.head = head
        self.body = body
    }

    /// Hands the body to `sink`, piece by piece, as it comes; call it once. Throws `HTTPClientError` when the body is
    /// broken, late or too large, after some pieces perhaps, and what `sink` throws.
    public func read(into sink: Sink) throws { try body(sink) }

    /// The whole body. Throws as `read` does.
    public func collect() throws(HTTPClientError) -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            try body { bytes.append(contentsOf: $0) }
        } catch let error as HTTPClientError {
            throw error
        } catch {
            throw .malformedResponse
        }
        return bytes
    }
}

/// A response in memory.
public struct HTTPResponse: Sendable {
    public let status: Int
    public let headers: [(name: Bytes, value: Bytes)]
    public let body: [UInt8]

    /// The first value of `name` (lower case), or nil.
    public subscript(_ name: Bytes) -> Bytes? { headers.first { $0.name == name }?.value }
}

/// Why an outbound request got no response that may be used.
public enum HTTPClientError: Error, Equatable, Sendable {
    /// The address was refused before anything was sent.
    case invalidURL(URLFault)
    /// A header that can't be sent, or a limit that is none: a mistake of the caller's.
    case invalidRequest
    /// The name led to an address that is not public (or the only reachable one was not).
    case addressNotAllowed
    case timeout
    /// The body, the header fields or their count went over the limit.
    case tooLarge
    case redirectNotAllowed
    /// No TLS, or a certificate that doesn't hold for the name.
    case tls
    /// The name did not resolve or nothing answered.
    case unreachable
    /// What came was not one whole HTTP response.
    case malformedResponse
}

/// What is wrong with a URL. The description is fit for an error message.
public enum URLFault: Error, Equatable, Sendable, CustomStringConvertible {
    case malformed, httpsRequired, hostNotPublic

    public var description: String {
        switch self {
        case .malformed: "invalid URL"
        case .httpsRequired: "https required"
        case .hostNotPublic: "host must be a public DNS name"
        }
    }
}
