public import Base

/// A header value without control bytes: the only thing that a response header can hold.
public struct HeaderValue: Sendable, ExpressibleByStringLiteral {
    /// Literals stay where the program has them: most of an answer's headers cost no allocation.
    private enum Storage: Sendable {
        case literal(StaticString)
        case bytes(Bytes)
    }
    private let storage: Storage

    /// nil when a byte is a control (RFC 9110 §5.5): refused, never stripped.
    public init?(_ bytes: Bytes) {
        for byte in bytes where byte < 0x20 || byte == 0x7F { return nil }
        storage = .bytes(bytes)
    }

    public init(stringLiteral value: StaticString) { storage = .literal(value) }
    public init(_ number: Int) { storage = .bytes(Bytes(String(number))) }

    public var bytes: Bytes {
        switch storage {
        case .literal(let text): Bytes(stringLiteral: text)
        case .bytes(let bytes): bytes
        }
    }

    /// Lets `body` see the value without a copy.
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        switch storage {
        case .literal(let text): text.withUTF8Buffer { body(UnsafeRawBufferPointer($0)) }
        case .bytes(let bytes): bytes.withUnsafeBytes { body($0) }
        }
    }
}

/// Takes the pieces of a streamed body. Throws when the client has gone; the writer must then stop.
public typealias BodySink = (UnsafeRawBufferPointer) throws -> Void

/// One response. A body is bytes in hand, a file that the web server sends, or a stream that writes itself.
public struct Response {
    public enum Body {
        case bytes([UInt8])
        /// A path under the web server's internal root, for `X-Accel-Redirect`: the bytes never pass through here.
        case file(internalPath: HeaderValue)
        /// Called once, on the request's thread, after the head has been written. A throw ends the connection, so
        /// that the client sees a broken body and not a short one.
        case stream((BodySink) throws -> Void)
    }

    public var status: Int
    public private(set) var headers: [(name: StaticString, value: HeaderValue)] = []
    public var body: Body
    /// How long a `.stream` will be, when that is known: it becomes Content-Length, and a stream of any other length
    /// counts as broken. It is the only way to show a client behind Caddy 2.6.2 that a body broke off (that version
    /// ends a chunked body properly whatever happens).
    public var streamLength: Int?
    /// The name of what answered, such as a method's NSID, for the metrics: one of a small closed set, never input.
    public var route = Bytes()

    public init(status: Int, body: Body = .bytes([])) {
        self.status = status
        self.body = body
    }

    public mutating func append(_ name: StaticString, _ value: HeaderValue) { headers.append((name, value)) }
}

/// What a responder is: a function from a request to a response. It never throws.
/// The host, a test and a server-side call all use this one door.
public typealias Responder = @Sendable (Request) -> Response
