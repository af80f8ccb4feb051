internal import Glibc

/// An immutable run of bytes: a slice of a shared array, compared, ordered and split as bytes.
///
/// What decides (path, host, header, key, token) is `Bytes`, never `String`: `String` compares by canonical
/// equivalence and its `Character` merges CR LF (DESIGN.md D15). Slicing shares the storage and copies nothing.
public struct Bytes: Sendable, RandomAccessCollection, ExpressibleByStringLiteral, CustomStringConvertible {
    @usableFromInline let storage: [UInt8]
    @usableFromInline let start: UInt32
    @usableFromInline let end: UInt32

    @inlinable public init() { self.init([]) }

    /// All of `array`. An array of 4 GiB or more keeps its first 4 GiB − 1: every input has a far smaller limit.
    @inlinable public init(_ array: [UInt8]) {
        storage = array
        start = 0
        end = UInt32(clamping: array.count)
    }

    @inlinable init(storage: [UInt8], start: UInt32, end: UInt32) {
        self.storage = storage
        self.start = start
        self.end = end
    }

    @inlinable public init(_ raw: UnsafeRawBufferPointer) { self.init([UInt8](raw)) }

    /// The UTF-8 of `text`.
    @inlinable public init(_ text: String) { self.init([UInt8](text.utf8)) }

    @inlinable public init(stringLiteral value: StaticString) {
        self.init(value.withUTF8Buffer { [UInt8]($0) })
    }

    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { Int(end &- start) }
    @inlinable public var count: Int { Int(end &- start) }
    @inlinable public var isEmpty: Bool { end == start }

    @inlinable public subscript(position: Int) -> UInt8 {
        precondition(position >= 0 && position < count, "index out of range")
        return storage[Int(start) &+ position]
    }

    /// The bytes in `range`, sharing storage. Traps when `range` is out of bounds: check lengths first.
    @inlinable public func slice(_ range: Range<Int>) -> Bytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "range out of bounds")
        return Bytes(
            storage: storage, start: start &+ UInt32(range.lowerBound), end: start &+ UInt32(range.upperBound))
    }

    /// Everything from `position` on; empty when `position` is at or past the end.
    @inlinable public func from(_ position: Int) -> Bytes { slice(Swift.min(position, count)..<count) }

    /// Everything before `position`.
    @inlinable public func upTo(_ position: Int) -> Bytes { slice(0..<Swift.min(position, count)) }

    @inlinable public func withUnsafeBytes<Result, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> Result
    ) throws(E) -> Result {
        var result: Swift.Result<Result, E>?
        storage.withUnsafeBytes { raw in
            let part = UnsafeRawBufferPointer(rebasing: raw[Int(start)..<Int(end)])
            do throws(E) { result = .success(try body(part)) } catch { result = .failure(error) }
        }
        // `withUnsafeBytes` always calls its closure, so `result` is always set.
        return try result.unsafelyUnwrapped.get()
    }

    @inlinable public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        try storage.withUnsafeBufferPointer { try body(UnsafeBufferPointer(rebasing: $0[Int(start)..<Int(end)])) }
    }

    /// A copy as an array (no copy when this is the whole of its storage).
    @inlinable public var array: [UInt8] {
        start == 0 && Int(end) == storage.count ? storage : [UInt8](storage[Int(start)..<Int(end)])
    }

    /// The text, or nil when the bytes are not valid UTF-8. For display and for messages only.
    public var text: String? { String(validating: self, as: UTF8.self) }

    /// For people: invalid UTF-8 is shown with replacement characters. Never decide on it.
    public var description: String { String(decoding: self, as: UTF8.self) }

    /// The parts between occurrences of `separator`, empty ones included.
    public func split(on separator: UInt8) -> [Bytes] {
        var parts: [Bytes] = []
        var from = 0
        for position in 0..<count where self[position] == separator {
            parts.append(slice(from..<position))
            from = position + 1
        }
        parts.append(slice(from..<count))
        return parts
    }

    /// The position of the first `byte`, or nil.
    public func position(of byte: UInt8) -> Int? { firstIndex(of: byte) }

    public func starts(with prefix: Bytes) -> Bool {
        prefix.count <= count && slice(0..<prefix.count) == prefix
    }

    public func ends(with suffix: Bytes) -> Bool {
        suffix.count <= count && slice((count - suffix.count)..<count) == suffix
    }

    /// Without the bytes of `blanks` at either end.
    public func trimming(_ blanks: Bytes) -> Bytes {
        var from = 0
        var to = count
        while from < to, blanks.contains(self[from]) { from += 1 }
        while to > from, blanks.contains(self[to - 1]) { to -= 1 }
        return slice(from..<to)
    }

    /// ASCII letters in lower case; every other byte as it is.
    public var lowercasedASCII: Bytes {
        Bytes(map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 })
    }

    /// The value of 1 to 18 decimal digits without sign or leading zeros, or nil (`Int("+5")` is 5; this is not).
    public var decimal: Int? {
        guard count >= 1, count <= 18, count == 1 || self[0] != 0x30 else { return nil }
        var value = 0
        for byte in self {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            value = value * 10 + Int(byte - 0x30)
        }
        return value
    }

    public static func + (left: Bytes, right: Bytes) -> Bytes {
        var joined: [UInt8] = []
        joined.reserveCapacity(left.count + right.count)
        left.withUnsafeBytes { joined.append(contentsOf: $0) }
        right.withUnsafeBytes { joined.append(contentsOf: $0) }
        return Bytes(joined)
    }
}

extension Bytes: Hashable, Comparable {
    public static func == (left: Bytes, right: Bytes) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBytes { a in
            right.withUnsafeBytes { b in
                guard let x = a.baseAddress, let y = b.baseAddress else { return true }
                return memcmp(x, y, a.count) == 0
            }
        }
    }

    /// Order by bytes, a prefix before what it begins: the order of MST keys and of cursors.
    public static func < (left: Bytes, right: Bytes) -> Bool {
        left.withUnsafeBytes { a in
            right.withUnsafeBytes { b in
                let shared = Swift.min(a.count, b.count)
                if shared > 0, let x = a.baseAddress, let y = b.baseAddress {
                    let order = memcmp(x, y, shared)
                    if order != 0 { return order < 0 }
                }
                return a.count < b.count
            }
        }
    }

    public func hash(into hasher: inout Hasher) {
        withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}
