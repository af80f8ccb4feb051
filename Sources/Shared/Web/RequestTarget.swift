public import Base

/// Why the target of a request line is refused. Every one of them is a 400.
public enum RequestTargetError: Error, Equatable, Sendable {
    case empty, tooLong, notAPath, control, backslash, encodedSeparator, dotSegment, notUTF8, truncatedEscape, fragment
}

/// The rules for what may stand in a request line, checked on the raw bytes before anything is routed.
///
/// One spelling, one meaning: what a proxy, a router and a file system could read in different ways (RFC 9112 §3.2,
/// RFC 3986 §3.3) is refused, never repaired.
public enum RequestTarget {
    /// nginx's `large_client_header_buffers` of 16 KiB bounds the request line before this does.
    public static let sizeMax = 16_384

    /// Splits an origin-form target into path and query and checks both.
    public static func split(_ target: Bytes) throws(RequestTargetError) -> (path: Bytes, query: Bytes) {
        guard target.count <= sizeMax else { throw .tooLong }
        guard !target.isEmpty else { throw .empty }
        let mark = target.withUnsafeBytes { raw in
            raw.firstIndex(of: 0x3F) ?? raw.count
        }
        let path = target.upTo(mark)
        let query = target.from(mark + 1)
        try check(path: path)
        if let error = query.withUnsafeBytes(queryError) { throw error }
        return (path, query)
    }

    /// Checks a path as sent. It is valid when it begins with `/`, has no control byte, space, `\` or `#`, raw or
    /// encoded, no encoded `/`, no segment that is `.` or `..` after one decoding (with or without `;parameters`),
    /// and is UTF-8 after one decoding.
    public static func check(path: Bytes) throws(RequestTargetError) {
        if let error = path.withUnsafeBytes(pathError) { throw error }
    }

    private static func queryError(_ query: UnsafeRawBufferPointer) -> RequestTargetError? {
        for byte in query {
            if byte <= 0x20 || byte == 0x7F { return .control }
            if byte == 0x23 { return .fragment }
        }
        return nil
    }

    private static func pathError(_ path: UnsafeRawBufferPointer) -> RequestTargetError? {
        guard path.first == 0x2F else { return path.isEmpty ? .empty : .notAPath }
        var utf8 = UTF8Checker()
        var segment = DotSegment()
        var index = 0
        while index < path.count {
            var byte = path[index]
            index &+= 1
            if byte == 0x2F {
                if segment.isDots { return .dotSegment }
                segment = DotSegment()
                if !utf8.isComplete { return .notUTF8 }
                continue
            }
            if byte == 0x25 {
                guard index &+ 1 < path.count, let high = hexDigit(path[index]), let low = hexDigit(path[index &+ 1])
                else { return .truncatedEscape }
                byte = high << 4 | low
                index &+= 2
                if byte == 0x2F { return .encodedSeparator }
            } else if byte == 0x20 {
                return .control
            } else if byte == 0x23 {
                return .fragment
            }
            if byte < 0x20 || byte == 0x7F { return .control }
            if byte == 0x5C { return .backslash }
            if !utf8.take(byte) { return .notUTF8 }
            segment.take(byte)
        }
        if segment.isDots { return .dotSegment }
        return utf8.isComplete ? nil : .notUTF8
    }

    @inline(__always)
    static func hexDigit(_ character: UInt8) -> UInt8? {
        switch character {
        case 0x30...0x39: character &- 0x30
        case 0x61...0x66: character &- 0x57
        case 0x41...0x46: character &- 0x37
        default: nil
        }
    }
}

/// Watches one path segment for `.` and `..`, which servers also see in `..;x` (path parameters, RFC 3986 §3.3).
private struct DotSegment {
    private var dots = 0
    private var other = false
    private var ended = false

    var isDots: Bool { !other && (dots == 1 || dots == 2) }

    mutating func take(_ byte: UInt8) {
        if ended || other { return }
        switch byte {
        case 0x2E: dots &+= 1
        case 0x3B: ended = true
        default: other = true
        }
    }
}

/// A validator of UTF-8, byte by byte (the well-formed sequences of the Unicode Standard, table 3-7).
struct UTF8Checker {
    private var pending: UInt8 = 0
    private var low: UInt8 = 0x80
    private var high: UInt8 = 0xBF

    var isComplete: Bool { pending == 0 }

    /// False when the bytes so far can't begin any UTF-8 text.
    @inline(__always)
    mutating func take(_ byte: UInt8) -> Bool {
        if pending == 0, byte < 0x80 { return true }
        return takeSlowly(byte)
    }

    private mutating func takeSlowly(_ byte: UInt8) -> Bool {
        if pending > 0 {
            guard byte >= low, byte <= high else { return false }
            (low, high) = (0x80, 0xBF)
            pending &-= 1
            return true
        }
        switch byte {
        case 0xC2...0xDF: pending = 1
        case 0xE0: (pending, low) = (2, 0xA0)
        case 0xE1...0xEC, 0xEE, 0xEF: pending = 2
        case 0xED: (pending, high) = (2, 0x9F)
        case 0xF0: (pending, low) = (3, 0x90)
        case 0xF1...0xF3: pending = 3
        case 0xF4: (pending, high) = (3, 0x8F)
        default: return false
        }
        return true
    }
}
