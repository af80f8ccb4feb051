public import Base

/// The request methods that anything here answers; the rest is refused by the host with 405 and `Allow`.
public enum HTTPMethod: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case options = "OPTIONS"
}

/// Header fields in the order of arrival: names in lower case, values as sent. Compared as bytes.
///
/// All of them are slices of one array, so that a request costs two allocations however many fields it has.
public struct Headers: Sendable {
    /// Where one field lies in the storage.
    public struct Slot: Sendable {
        var name: Range<UInt32>
        var value: Range<UInt32>

        public init(name: Range<UInt32>, value: Range<UInt32>) {
            self.name = name
            self.value = value
        }
    }

    private var storage: [UInt8]
    private var slots: [Slot]

    public init() {
        storage = []
        slots = []
    }

    /// Fields that lie in `storage`; every slot must be inside of it, names already in lower case.
    public init(storage: [UInt8], slots: [Slot]) {
        self.storage = storage
        self.slots = slots
    }

    public var count: Int { slots.count }

    /// The fields as pairs.
    public var fields: [(name: Bytes, value: Bytes)] { slots.map { (slice($0.name), slice($0.value)) } }

    /// The field at `index` in the order of arrival.
    public subscript(_ index: Int) -> (name: Bytes, value: Bytes) {
        (slice(slots[index].name), slice(slots[index].value))
    }

    public mutating func append(_ name: Bytes, _ value: Bytes) {
        let nameStart = UInt32(clamping: storage.count)
        storage.append(contentsOf: name)
        let nameEnd = UInt32(clamping: storage.count)
        storage.append(contentsOf: value)
        slots.append(Slot(name: nameStart..<nameEnd, value: nameEnd..<UInt32(clamping: storage.count)))
    }

    /// The only value of `name` (lower case), or nil. The host refuses a second one of every field.
    public subscript(_ name: StaticString) -> Bytes? {
        name.withUTF8Buffer { value(of: $0) }
    }

    /// The same for a name that is not known at compile time.
    @_disfavoredOverload public subscript(_ name: Bytes) -> Bytes? {
        name.withUnsafeBytes { raw in value(of: raw.bindMemory(to: UInt8.self)) }
    }

    private func value(of name: UnsafeBufferPointer<UInt8>) -> Bytes? {
        for slot in slots where slot.name.count == name.count {
            let isName = storage.withUnsafeBufferPointer {
                $0[Int(slot.name.lowerBound)..<Int(slot.name.upperBound)].elementsEqual(name)
            }
            if isName { return slice(slot.value) }
        }
        return nil
    }

    private func slice(_ range: Range<UInt32>) -> Bytes {
        Bytes(storage).slice(Int(range.lowerBound)..<Int(range.upperBound))
    }
}

/// A request body, read once, in pieces, with a cap.
public protocol RequestBody: AnyObject {
    /// Reads up to `buffer.count` bytes; 0 means the end. Throws `Failure` when the peer broke off, sent more or
    /// less than it declared, or took too long.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

/// One request. What decides is bytes; nothing in it was decoded but what says so.
public struct Request {
    public var method: HTTPMethod
    /// The path as sent, before `?`: begins with `/`, no controls, not decoded. Route on this.
    public var path: Bytes
    /// The query as sent, without `?`; empty when there is none.
    public var query: Bytes
    public var headers: Headers
    /// The host that was asked, canonical: lower case, no port, no trailing dot, `[a-z0-9.-]` only.
    public var host: Bytes
    /// True when the edge says that the client came by HTTPS.
    public var isSecure: Bool
    /// The client's address as the edge saw it (never from a header that a client can set).
    public var peer: Bytes
    /// This request's id, in the answer, the log and every 500.
    public var id: Bytes
    /// The declared length of the body, or nil when there is none or it is not known. Never trust it: read with a cap.
    public var contentLength: Int?
    public var body: any RequestBody

    public init(
        method: HTTPMethod, path: Bytes, query: Bytes = Bytes(), headers: Headers = Headers(), host: Bytes,
        isSecure: Bool = false, peer: Bytes, id: Bytes, contentLength: Int? = nil,
        body: any RequestBody = BytesBody(Bytes())
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.host = host
        self.isSecure = isSecure
        self.peer = peer
        self.id = id
        self.contentLength = contentLength
        self.body = body
    }

    /// The whole body; throws `Failure(.tooLarge)` as soon as it is longer than `sizeMax`.
    public func collectBody(sizeMax: Int) throws -> [UInt8] {
        if let contentLength, contentLength > sizeMax { throw Self.tooLarge(sizeMax) }
        var collected: [UInt8] = []
        collected.reserveCapacity(min(contentLength ?? 4_096, sizeMax))
        var ended = false
        while !ended {
            try withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 16) { buffer in
                let count = try body.read(into: buffer)
                ended = count == 0
                collected.append(contentsOf: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
            }
            if collected.count > sizeMax { throw Self.tooLarge(sizeMax) }
        }
        return collected
    }

    static func tooLarge(_ max: Int) -> Failure {
        Failure(.tooLarge, "PayloadTooLarge", "request entity too large: more than \(max) bytes")
    }
}

/// A body in hand, for tests and for server-side calls.
public final class BytesBody: RequestBody {
    private var rest: Bytes

    public init(_ bytes: Bytes) { rest = bytes }

    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let part = rest.upTo(buffer.count)
        part.withUnsafeBytes { buffer.copyMemory(from: $0) }
        rest = rest.from(part.count)
        return part.count
    }
}
