public import Base

/// Why a query or a form is refused.
public enum ParametersError: Error, Equatable, Sendable {
    case tooLong(sizeMax: Int)
    case tooMany(countMax: Int)
    case brokenEscape
    case control
    case notUTF8
    case duplicate(name: Bytes)
}

/// A client's mistake: 400, whatever the protocol.
extension ParametersError: Reportable {
    public var failure: Failure {
        switch self {
        case .tooLong(let max): Failure(.invalid, "InvalidRequest", "parameters are longer than \(max) bytes")
        case .tooMany(let max): Failure(.invalid, "InvalidRequest", "too many parameters: at most \(max)")
        case .brokenEscape: Failure(.invalid, "InvalidRequest", "a parameter has a broken percent escape")
        case .control: Failure(.invalid, "InvalidRequest", "a parameter has a NUL byte")
        case .notUTF8: Failure(.invalid, "InvalidRequest", "a parameter is not UTF-8")
        case .duplicate: Failure(.invalid, "InvalidRequest", "duplicate parameter")
        }
    }
}

/// The parameters of a query, each decoded once, in the order of arrival. A repeated name is an array's next element.
public struct Query: Sendable {
    /// More than any lexicon's query has; arrays have 25 elements there (`app.bsky.feed.getPosts`).
    public static let countMax = 100
    public static let sizeMax = 16_384

    public let parameters: [(name: Bytes, value: Bytes)]

    /// Reads `application/x-www-form-urlencoded` (WHATWG URL §5.1, strictly): `&` between parameters, the first `=`
    /// between name and value, `+` for a space, `%XX` decoded once. A `%` without two hexadecimal digits, a NUL byte
    /// and invalid UTF-8 are refused.
    public init(
        parsing bytes: Bytes, countMax: Int = Query.countMax, sizeMax: Int = Query.sizeMax
    ) throws(ParametersError) {
        guard bytes.count <= sizeMax else { throw .tooLong(sizeMax: sizeMax) }
        var found: [(name: Bytes, value: Bytes)] = []
        var start = 0
        while start < bytes.count {
            let rest = bytes.from(start)
            let size = rest.position(of: 0x26) ?? rest.count
            start = start &+ size &+ 1
            if size == 0 { continue }
            guard found.count < countMax else { throw .tooMany(countMax: countMax) }
            let part = rest.upTo(size)
            let mark = part.position(of: 0x3D) ?? part.count
            found.append(
                (try PercentCoding.decodeForm(part.upTo(mark)), try PercentCoding.decodeForm(part.from(mark + 1))))
        }
        parameters = found
    }

    /// The only value of `name`, or nil when there is none. Throws when there are several.
    public func single(_ name: Bytes) throws(ParametersError) -> Bytes? {
        var value: Bytes?
        for parameter in parameters where parameter.name == name {
            if value != nil { throw .duplicate(name: name) }
            value = parameter.value
        }
        return value
    }

    /// All values of `name` in order; those of `name[]` are other parameters.
    public func all(_ name: Bytes) -> [Bytes] {
        parameters.filter { $0.name == name }.map(\.value)
    }
}

extension Request {
    /// The query, read strictly.
    public func parseQuery() throws(ParametersError) -> Query { try Query(parsing: query) }
}

/// Percent-encoding (RFC 3986 §2.1).
public enum PercentCoding {
    /// Decodes `%XX` and `+` once.
    static func decodeForm(_ bytes: Bytes) throws(ParametersError) -> Bytes { try decode(bytes, plusIsSpace: true) }

    /// Decodes `%XX` once; what comes out is UTF-8 without NUL bytes. Without escapes nothing is copied.
    public static func decode(_ bytes: Bytes, plusIsSpace: Bool = false) throws(ParametersError) -> Bytes {
        var utf8 = UTF8Checker()
        let isPlain = bytes.withUnsafeBytes { raw in
            !raw.contains { $0 == 0x25 || ($0 == 0x2B && plusIsSpace) || $0 == 0 || $0 >= 0x80 }
        }
        if isPlain { return bytes }
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            var byte = bytes[index]
            index &+= 1
            if byte == 0x25 {
                guard index &+ 1 < bytes.count, let high = RequestTarget.hexDigit(bytes[index]),
                    let low = RequestTarget.hexDigit(bytes[index &+ 1])
                else { throw .brokenEscape }
                byte = high << 4 | low
                index &+= 2
            } else if byte == 0x2B, plusIsSpace {
                byte = 0x20
            }
            guard byte != 0 else { throw .control }
            guard utf8.take(byte) else { throw .notUTF8 }
            out.append(byte)
        }
        guard utf8.isComplete else { throw .notUTF8 }
        return Bytes(out)
    }

    /// Encodes everything but RFC 3986's unreserved characters: right in every part of a URL.
    public static func encode(_ bytes: Bytes) -> Bytes {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        for byte in bytes {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: out.append(byte)
            default: out.append(contentsOf: [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]])
            }
        }
        return Bytes(out)
    }
}
