public import Base

/// Why bytes are not DRISL-CBOR (the strict DAG-CBOR of the data model), and where.
public struct CBORError: Error, Equatable, Sendable {
    public enum Reason: Sendable, Equatable {
        case truncated, nonCanonicalLength, indefiniteLength, floatNotAllowed, unsupportedSimpleValue, mapKeys,
            textNotUTF8, invalidCID, unsupportedTag, lengthExceedsInput, tooDeep, trailingData, integerOutOfRange,
            unexpectedType, tooManyElements, keyTooLong, blockTooLarge
    }
    public let reason: Reason
    /// The offset of the first byte of the item that is wrong.
    public let offset: Int
    /// The limit that was reached, where the reason is a limit; else 0.
    public let limit: Int

    public init(_ reason: Reason, at offset: Int, limit: Int = 0) {
        self.reason = reason
        self.offset = offset
        self.limit = limit
    }
}

extension CBORError: CustomStringConvertible {
    /// One sentence part for people, such as `non-canonical length at byte 3`.
    public var description: String {
        let what =
            switch reason {
            case .truncated: "truncated"
            case .nonCanonicalLength: "non-canonical length"
            case .indefiniteLength: "indefinite length"
            case .floatNotAllowed: "float not allowed"
            case .unsupportedSimpleValue: "unsupported simple value"
            case .mapKeys: "map keys: not text, not in order or not unique"
            case .textNotUTF8: "text is not UTF-8"
            case .invalidCID: "invalid CID"
            case .unsupportedTag: "unsupported tag"
            case .lengthExceedsInput: "length exceeds input"
            case .tooDeep: "nesting deeper than \(limit)"
            case .trailingData: "trailing data"
            case .integerOutOfRange: "integer out of range"
            case .unexpectedType: "unexpected type"
            case .tooManyElements: "more than \(limit) elements"
            case .keyTooLong: "key longer than \(limit) bytes"
            case .blockTooLarge: "larger than \(limit) bytes"
            }
        return "\(what) at byte \(offset)"
    }
}

/// The eight major types of RFC 8949 §3.1.
public enum CBORMajor: UInt8, Sendable {
    case unsigned, negative, bytes, text, array, map, tag, simple
}

/// A cursor over CBOR that reads one head or one atom at a time, strictly. It never allocates from a declared length.
public struct CBORReader {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    public var offset: Int

    @inlinable public init(_ bytes: UnsafeRawBufferPointer, offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    @inlinable public var isAtEnd: Bool { offset >= bytes.count }
    @inlinable public var remaining: Int { bytes.count - offset }

    /// The next byte, not consumed.
    @inlinable @inline(__always)
    public func peek() throws(CBORError) -> UInt8 {
        guard offset < bytes.count else { throw CBORError(.truncated, at: offset) }
        return bytes[offset]
    }

    /// A head: major type and argument in shortest form (RFC 8949 §4.2.1). Indefinite lengths are refused.
    @inlinable @inline(__always)
    public mutating func head() throws(CBORError) -> (major: CBORMajor, argument: UInt64) {
        let at = offset
        let first = try peek()
        let major = CBORMajor(rawValue: first >> 5).unsafelyUnwrapped
        let short = first & 31
        if short < 24 {
            offset = at &+ 1
            return (major, UInt64(short))
        }
        return (major, try longArgument(major, short))
    }

    /// The argument of a head with more than one byte.
    @usableFromInline @inline(never)
    mutating func longArgument(_ major: CBORMajor, _ short: UInt8) throws(CBORError) -> UInt64 {
        let at = offset
        guard short <= 27 else {
            throw CBORError(short == 31 ? .indefiniteLength : .nonCanonicalLength, at: at)
        }
        let width = 1 << Int(short - 24)
        guard bytes.count - at > width else { throw CBORError(.truncated, at: at) }
        var argument: UInt64 = 0
        for index in 0..<width { argument = argument << 8 | UInt64(bytes[at + 1 + index]) }
        if major == .simple {
            throw CBORError(short >= 25 ? .floatNotAllowed : .unsupportedSimpleValue, at: at)
        }
        let least: UInt64 = width == 1 ? 24 : 1 << UInt64(width * 4)
        guard argument >= least else { throw CBORError(.nonCanonicalLength, at: at) }
        offset = at + 1 + width
        return argument
    }

    /// A head that must be of `major`, with its argument as a length that the rest of the input can hold.
    @inlinable @inline(__always)
    public mutating func length(_ major: CBORMajor) throws(CBORError) -> Int {
        let at = offset
        let head = try head()
        guard head.major == major else { throw CBORError(.unexpectedType, at: at) }
        guard head.argument <= UInt64(bytes.count - offset) else { throw CBORError(.lengthExceedsInput, at: at) }
        return Int(head.argument)
    }

    /// The content of a byte or text string (UTF-8 is not checked here), in place.
    @inlinable public mutating func string(_ major: CBORMajor) throws(CBORError) -> UnsafeRawBufferPointer {
        let count = try length(major)
        let content = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
        offset += count
        return content
    }

    /// A link: tag 42 over a byte string of `00` and the binary CID (DAG-CBOR specification, Links).
    @inlinable public mutating func link() throws(CBORError) -> CID {
        let at = offset
        let head = try head()
        guard head.major == .tag else { throw CBORError(.unexpectedType, at: at) }
        guard head.argument == 42 else { throw CBORError(.unsupportedTag, at: at) }
        guard !isAtEnd, bytes[offset] >> 5 == CBORMajor.bytes.rawValue else { throw CBORError(.invalidCID, at: at) }
        let content = try string(.bytes)
        guard content.count == CID.byteCount + 1, content[0] == 0,
            let cid = CID(UnsafeRawBufferPointer(rebasing: content[1...]))
        else { throw CBORError(.invalidCID, at: at) }
        return cid
    }

    /// A link, or null.
    @inlinable public mutating func optionalLink() throws(CBORError) -> CID? {
        if try peek() == 0xF6 {
            offset += 1
            return nil
        }
        return try link()
    }

    /// Throws unless every byte has been read.
    @inlinable public func end() throws(CBORError) {
        guard offset == bytes.count else { throw CBORError(.trailingData, at: offset) }
    }
}

/// Writes CBOR in the deterministic form. The caller gives map keys in order: by length, then by bytes.
public struct CBORWriter {
    public var out: [UInt8]

    @inlinable public init(capacity: Int = 512) {
        out = []
        out.reserveCapacity(capacity)
    }

    @inlinable public mutating func head(_ major: CBORMajor, _ argument: UInt64) {
        let top = major.rawValue << 5
        if argument < 24 {
            out.append(top | UInt8(truncatingIfNeeded: argument))
        } else if argument < 0x100 {
            out.append(top | 24)
            out.append(UInt8(truncatingIfNeeded: argument))
        } else if argument < 0x1_0000 {
            out.append(top | 25)
            withUnsafeBytes(of: UInt16(truncatingIfNeeded: argument).bigEndian) { out.append(contentsOf: $0) }
        } else if argument < 0x1_0000_0000 {
            out.append(top | 26)
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: argument).bigEndian) { out.append(contentsOf: $0) }
        } else {
            out.append(top | 27)
            withUnsafeBytes(of: argument.bigEndian) { out.append(contentsOf: $0) }
        }
    }

    @inlinable public mutating func array(_ count: Int) { head(.array, UInt64(count)) }
    @inlinable public mutating func map(_ count: Int) { head(.map, UInt64(count)) }
    @inlinable public mutating func null() { out.append(0xF6) }
    @inlinable public mutating func bool(_ value: Bool) { out.append(value ? 0xF5 : 0xF4) }

    @inlinable public mutating func integer(_ value: Int64) {
        if value >= 0 { head(.unsigned, UInt64(value)) } else { head(.negative, UInt64(bitPattern: ~value)) }
    }

    @inlinable public mutating func text(_ value: StaticString) {
        value.withUTF8Buffer {
            head(.text, UInt64($0.count))
            out.append(contentsOf: $0)
        }
    }

    // Of a literal the other one is meant; without the attribute it would be ambiguous.
    @_disfavoredOverload @inlinable public mutating func text(_ value: Bytes) {
        head(.text, UInt64(value.count))
        value.withUnsafeBytes { out.append(contentsOf: $0) }
    }

    @inlinable public mutating func bytes(_ value: UnsafeRawBufferPointer) {
        head(.bytes, UInt64(value.count))
        out.append(contentsOf: value)
    }

    @inlinable public mutating func bytes(_ value: Bytes) { value.withUnsafeBytes { bytes($0) } }

    @inlinable public mutating func link(_ cid: CID) {
        out.append(0xD8)
        out.append(0x2A)
        out.append(0x58)
        out.append(0x25)
        out.append(0)
        cid.append(to: &out)
    }

    @inlinable public mutating func optionalLink(_ cid: CID?) {
        if let cid { link(cid) } else { null() }
    }
}
