internal import Base
internal import Glibc
internal import Web

/// The name-value pairs of one request, as libfcgi leaves them: C strings of the form `NAME=value`.
///
/// All of them are copied once into one array; everything in the request is a slice of it.
struct Parameters {
    /// nginx and Caddy send about 20 and one for every header field.
    static let countMax = 200
    /// nginx refuses more than this, Caddy 2.6.2 cuts there (measured), so nothing honest is longer.
    static let sizeMax = 65_536

    /// The parameters that the web server sets by itself; no client can (its names begin with `HTTP_`).
    var method: Range<UInt32>?
    var target: Range<UInt32>?
    var peer: Range<UInt32>?
    var host: Range<UInt32>?
    var scheme: Range<UInt32>?
    var requestID: Range<UInt32>?
    var contentType: Range<UInt32>?
    var contentLength: Range<UInt32>?

    private(set) var storage: [UInt8] = []
    private(set) var headers: [Headers.Slot] = []

    init(_ environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) throws(Refusal) {
        var failure: Refusal?
        withUnsafeTemporaryAllocation(of: Entry.self, capacity: Self.countMax) { entries in
            do throws(Refusal) { try copy(environment, entries) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    func bytes(_ range: Range<UInt32>?) -> Bytes? {
        range.map { Bytes(storage).slice(Int($0.lowerBound)..<Int($0.upperBound)) }
    }

    private struct Entry {
        let text: UnsafeRawPointer
        let nameSize: Int
        let size: Int
        /// Of the name: to find a second one without comparing every pair of names.
        let hash: UInt64
    }

    private mutating func copy(
        _ environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
        _ entries: UnsafeMutableBufferPointer<Entry>
    ) throws(Refusal) {
        var count = 0
        var total = 0
        while let text = environment[count] {
            guard count < Self.countMax else { throw .headersTooLarge }
            let entry = Self.entry(UnsafeRawPointer(text))
            total = total &+ entry.size
            guard total <= Self.sizeMax else { throw .headersTooLarge }
            for earlier in 0..<count where entries[earlier].hash == entry.hash {
                if entries[earlier].nameSize == entry.nameSize,
                    memcmp(entries[earlier].text, entry.text, entry.nameSize) == 0
                {
                    throw Self.duplicate(entry)
                }
            }
            (entries.baseAddress.unsafelyUnwrapped + count).initialize(to: entry)
            count &+= 1
        }
        storage.reserveCapacity(total)
        headers.reserveCapacity(count)
        for entry in entries[..<count] { try take(entry) }
    }

    private static func entry(_ text: UnsafeRawPointer) -> Entry {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var nameSize = 0
        while true {
            let byte = text.load(fromByteOffset: nameSize, as: UInt8.self)
            if byte == 0x3D || byte == 0 { break }
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
            nameSize &+= 1
        }
        let size = nameSize &+ strlen((text + nameSize).assumingMemoryBound(to: CChar.self))
        return Entry(text: text, nameSize: nameSize, size: size, hash: hash)
    }

    private mutating func take(_ entry: Entry) throws(Refusal) {
        // The value begins after `=`; libfcgi always writes one.
        let valueSize = entry.size &- entry.nameSize &- 1
        // An empty parameter is how a web server's configuration takes a header away: it was not sent.
        guard valueSize > 0 else { return }
        let value = UnsafeRawBufferPointer(start: entry.text + entry.nameSize + 1, count: valueSize)
        if Self.hasPrefix(entry, "HTTP_") {
            try takeHeader(entry, value)
        } else if Self.isNamed(entry, "REQUEST_METHOD") {
            method = append(value)
        } else if Self.isNamed(entry, "REQUEST_URI") {
            target = append(value)
        } else if Self.isNamed(entry, "SKYSTEAD_PEER") {
            peer = append(value)
        } else if Self.isNamed(entry, "SKYSTEAD_HOST") {
            host = append(value)
        } else if Self.isNamed(entry, "SKYSTEAD_SCHEME") {
            scheme = append(value)
        } else if Self.isNamed(entry, "SKYSTEAD_REQ_ID") {
            requestID = append(value)
        } else if Self.isNamed(entry, "CONTENT_LENGTH") {
            contentLength = append(value)
        } else if Self.isNamed(entry, "CONTENT_TYPE") {
            contentType = try appendHeader("content-type", value)
        }
        // Every other parameter (PATH_INFO, SCRIPT_NAME, …) is a decoded or guessed form of these: never looked at.
    }

    /// Fields that say where a request comes from or what it asks for besides the request line: a client may send
    /// anything in them, so no handler ever sees them. The parameters above are the only source.
    private static let ignored: [StaticString] = [
        "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_PORT", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_X_ORIGINAL_URL", "HTTP_X_REWRITE_URL",
        "HTTP_TRANSFER_ENCODING", "HTTP_CONNECTION", "HTTP_UPGRADE", "HTTP_KEEP_ALIVE", "HTTP_TE", "HTTP_TRAILER",
    ]

    private mutating func takeHeader(_ entry: Entry, _ value: UnsafeRawBufferPointer) throws(Refusal) {
        if Self.isNamed(entry, "HTTP_PROXY") { throw .invalid("a Proxy header is not allowed") }
        for name in Self.ignored where Self.isNamed(entry, name) { return }
        let nameStart = UInt32(clamping: storage.count)
        for index in 5..<entry.nameSize {
            let byte = entry.text.load(fromByteOffset: index, as: UInt8.self)
            switch byte {
            case 0x41...0x5A: storage.append(byte | 0x20)
            case 0x5F: storage.append(0x2D)
            case 0x21...0x7E: storage.append(byte)
            default: throw .invalid("a header name has an invalid character")
            }
        }
        let name = nameStart..<UInt32(clamping: storage.count)
        headers.append(Headers.Slot(name: name, value: try appendValue(value)))
    }

    private mutating func appendHeader(
        _ name: StaticString, _ value: UnsafeRawBufferPointer
    ) throws(Refusal) -> Range<UInt32> {
        let nameStart = UInt32(clamping: storage.count)
        name.withUTF8Buffer { storage.append(contentsOf: $0) }
        let nameRange = nameStart..<UInt32(clamping: storage.count)
        let valueRange = try appendValue(value)
        headers.append(Headers.Slot(name: nameRange, value: valueRange))
        return valueRange
    }

    private mutating func appendValue(_ value: UnsafeRawBufferPointer) throws(Refusal) -> Range<UInt32> {
        for byte in value where (byte < 0x20 && byte != 0x09) || byte == 0x7F {
            throw .invalid("a header has a control character")
        }
        return append(value)
    }

    private mutating func append(_ value: UnsafeRawBufferPointer) -> Range<UInt32> {
        let start = UInt32(clamping: storage.count)
        storage.append(contentsOf: value)
        return start..<UInt32(clamping: storage.count)
    }

    private static func duplicate(_ entry: Entry) -> Refusal {
        if isNamed(entry, "HTTP_DPOP") { return .manyProofs }
        if isNamed(entry, "HTTP_AUTHORIZATION") { return .invalid("duplicate Authorization") }
        if isNamed(entry, "HTTP_COOKIE") { return .invalid("duplicate cookie") }
        if isNamed(entry, "HTTP_CONTENT_TYPE") { return .invalid("duplicate Content-Type") }
        return .invalid("duplicate header")
    }

    @inline(__always)
    private static func isNamed(_ entry: Entry, _ name: StaticString) -> Bool {
        entry.nameSize == name.utf8CodeUnitCount && memcmp(entry.text, name.utf8Start, entry.nameSize) == 0
    }

    @inline(__always)
    private static func hasPrefix(_ entry: Entry, _ prefix: StaticString) -> Bool {
        entry.nameSize > prefix.utf8CodeUnitCount
            && memcmp(entry.text, prefix.utf8Start, prefix.utf8CodeUnitCount) == 0
    }
}
