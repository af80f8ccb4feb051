public import Base
internal import Crypto

/// DRISL-CBOR, the strict DAG-CBOR of the data model: one encoding for each value, and nothing else is decoded.
///
/// https://atproto.com/specs/data-model, https://dasl.ing/drisl.html
public enum DAGCBOR {
    /// The value that `bytes` hold, all of them. Text and bytes of it are slices of `bytes`.
    ///
    /// Throws `CBORError` for anything but the one encoding of a value, and where a limit is reached. What is decoded
    /// encodes to the same bytes again.
    public static func decode(_ bytes: Bytes, limits: DataLimits = .block) throws(CBORError) -> Value {
        guard bytes.count <= limits.blockSizeMax else {
            throw CBORError(.blockTooLarge, at: 0, limit: limits.blockSizeMax)
        }
        return try bytes.withUnsafeBytes { (raw) throws(CBORError) in
            var decoder = CBORDecoder(raw, of: bytes, limits: limits)
            let value = try decoder.item(depth: 0)
            guard decoder.offset == raw.count else { throw CBORError(.trailingData, at: decoder.offset) }
            return value
        }
    }

    public static func decode(_ bytes: [UInt8], limits: DataLimits = .block) throws(CBORError) -> Value {
        try decode(Bytes(bytes), limits: limits)
    }

    /// The one encoding of `value`. Maps that were built out of order are put in order; of equal keys the last counts.
    public static func encode(_ value: Value) -> [UInt8] {
        var measure = CBORMeasure()
        withUnsafePointer(to: value) { measure.add($0) }
        guard measure.isCanonical else { return encode(value.canonical) }
        return [UInt8](unsafeUninitializedCapacity: measure.size) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            var encoder = CBOREncoder(out: UnsafeMutableRawPointer(base))
            withUnsafePointer(to: value) { encoder.write($0) }
            count = encoder.out - UnsafeMutableRawPointer(base)
            precondition(count == measure.size, "measured and written sizes differ")
        }
    }
}

/// The order of DRISL's map keys: by length, then by bytes (RFC 7049 §3.9).
@inline(__always)
public func drislPrecedes(_ left: Bytes, _ right: Bytes) -> Bool {
    left.count != right.count ? left.count < right.count : left < right
}

extension Value {
    /// A map of `entries` in DRISL order; of equal keys the last counts.
    public static func object(_ entries: [Entry]) -> Value {
        var inOrder = true
        for index in entries.indices.dropFirst() where !drislPrecedes(entries[index - 1].key, entries[index].key) {
            inOrder = false
        }
        if inOrder { return .map(entries) }
        // The sort is stable, so that the last of equal keys stays the last.
        let sorted = entries.sorted { drislPrecedes($0.key, $1.key) }
        var unique: [Entry] = []
        unique.reserveCapacity(sorted.count)
        for entry in sorted {
            if unique.last?.key == entry.key { unique.removeLast() }
            unique.append(entry)
        }
        return .map(unique)
    }

    /// The same with every map in order.
    var canonical: Value {
        switch self {
        case .array(let items): .array(items.map(\.canonical))
        case .map(let entries): .object(entries.map { Entry(key: $0.key, value: $0.value.canonical) })
        default: self
        }
    }
}

/// Reads one block. Recursion is bounded by `limits.depthMax`, which is at most `DataLimits.depthCeiling`.
private struct CBORDecoder {
    private let base: UnsafePointer<UInt8>
    private let count: Int
    private let source: Bytes
    private let limits: DataLimits
    private(set) var offset = 0

    /// Room is made for at most so many elements before they are seen: a declared count costs nothing.
    private static let reserveMax = 64

    init(_ raw: UnsafeRawBufferPointer, of source: Bytes, limits: DataLimits) {
        // An empty buffer may have no address; nothing is read from it then.
        base = (raw.baseAddress ?? UnsafeRawPointer(bitPattern: 8).unsafelyUnwrapped).assumingMemoryBound(
            to: UInt8.self)
        count = raw.count
        self.source = source
        self.limits = limits
    }

    mutating func item(depth: Int) throws(CBORError) -> Value {
        let at = offset
        guard at < count else { throw CBORError(.truncated, at: at) }
        let first = base[at]
        switch first >> 5 {
        case 0: return .integer(try integer(first, at))
        case 1: return .integer(~(try integer(first, at)))
        case 2:
            let size = try length(first, at)
            offset = offset &+ size
            return .bytes(source.slice(offset &- size..<offset))
        case 3: return .text(try text(first, at))
        case 4: return .array(try array(first, at, depth &+ 1))
        case 5: return .map(try map(first, at, depth &+ 1))
        case 6: return .link(try link(at))
        default:
            switch first {
            case 0xF4: offset = at &+ 1; return .bool(false)
            case 0xF5: offset = at &+ 1; return .bool(true)
            case 0xF6: offset = at &+ 1; return .null
            case 0xF9, 0xFA, 0xFB: throw CBORError(.floatNotAllowed, at: at)
            case 0xFF: throw CBORError(.indefiniteLength, at: at)
            default: throw CBORError(.unsupportedSimpleValue, at: at)
            }
        }
    }

    /// The argument of the head whose first byte is `first`, in its shortest form.
    @inline(__always)
    private mutating func argument(_ first: UInt8, _ at: Int) throws(CBORError) -> UInt64 {
        let short = first & 31
        if short < 24 {
            offset = at &+ 1
            return UInt64(short)
        }
        if short == 24 {
            guard count &- at > 1 else { throw CBORError(.truncated, at: at) }
            let value = base[at &+ 1]
            guard value >= 24 else { throw CBORError(.nonCanonicalLength, at: at) }
            offset = at &+ 2
            return UInt64(value)
        }
        return try longArgument(at)
    }

    @inline(never)
    private mutating func longArgument(_ at: Int) throws(CBORError) -> UInt64 {
        var reader = CBORReader(UnsafeRawBufferPointer(start: base, count: count), offset: at)
        let argument = try reader.head().argument
        offset = reader.offset
        return argument
    }

    private mutating func integer(_ first: UInt8, _ at: Int) throws(CBORError) -> Int64 {
        guard let value = Int64(exactly: try argument(first, at)) else {
            throw CBORError(.integerOutOfRange, at: at)
        }
        return value
    }

    /// The argument as a length that the rest of the input can hold.
    @inline(__always)
    private mutating func length(_ first: UInt8, _ at: Int) throws(CBORError) -> Int {
        let argument = try argument(first, at)
        guard argument <= UInt64(truncatingIfNeeded: count &- offset) else {
            throw CBORError(.lengthExceedsInput, at: at)
        }
        return Int(truncatingIfNeeded: argument)
    }

    @inline(__always)
    private mutating func text(_ first: UInt8, _ at: Int) throws(CBORError) -> Bytes {
        let size = try length(first, at)
        guard UTF8Validity.isValid(base + offset, size) else { throw CBORError(.textNotUTF8, at: at) }
        offset = offset &+ size
        return source.slice(offset &- size..<offset)
    }

    /// Checks what an array and a map have in common: their depth and their count.
    private mutating func container(
        _ first: UInt8, _ at: Int, _ depth: Int, bytesEach: Int
    ) throws(CBORError) -> Int {
        let argument = try argument(first, at)
        guard argument <= UInt64(truncatingIfNeeded: (count &- offset) / bytesEach) else {
            throw CBORError(.lengthExceedsInput, at: at)
        }
        guard depth <= limits.depthMax else { throw CBORError(.tooDeep, at: at, limit: limits.depthMax) }
        guard argument <= UInt64(limits.containerCountMax) else {
            throw CBORError(.tooManyElements, at: at, limit: limits.containerCountMax)
        }
        return Int(truncatingIfNeeded: argument)
    }

    private mutating func array(_ first: UInt8, _ at: Int, _ depth: Int) throws(CBORError) -> [Value] {
        let size = try container(first, at, depth, bytesEach: 1)
        var items: [Value] = []
        items.reserveCapacity(min(size, Self.reserveMax))
        for _ in 0..<size { items.append(try item(depth: depth)) }
        return items
    }

    private mutating func map(_ first: UInt8, _ at: Int, _ depth: Int) throws(CBORError) -> [Value.Entry] {
        let size = try container(first, at, depth, bytesEach: 2)
        var entries: [Value.Entry] = []
        entries.reserveCapacity(min(size, Self.reserveMax))
        var before = (start: 0, size: -1)
        for _ in 0..<size {
            let keyAt = offset
            guard keyAt < count else { throw CBORError(.truncated, at: keyAt) }
            let keyFirst = base[keyAt]
            guard keyFirst >> 5 == CBORMajor.text.rawValue else { throw CBORError(.mapKeys, at: keyAt) }
            let key = try text(keyFirst, keyAt)
            let keyStart = offset &- key.count
            guard key.count <= limits.keySizeMax else {
                throw CBORError(.keyTooLong, at: keyAt, limit: limits.keySizeMax)
            }
            if before.size == key.count {
                guard compare(before.start, keyStart, key.count) < 0 else { throw CBORError(.mapKeys, at: keyAt) }
            } else {
                guard before.size < key.count else { throw CBORError(.mapKeys, at: keyAt) }
            }
            before = (keyStart, key.count)
            entries.append(Value.Entry(key: key, value: try item(depth: depth)))
        }
        return entries
    }

    /// The order of two runs of the input as memcmp(3) gives it.
    @inline(__always)
    private func compare(_ left: Int, _ right: Int, _ size: Int) -> Int {
        for index in 0..<size where base[left &+ index] != base[right &+ index] {
            return Int(base[left &+ index]) &- Int(base[right &+ index])
        }
        return 0
    }

    private mutating func link(_ at: Int) throws(CBORError) -> CID {
        var reader = CBORReader(UnsafeRawBufferPointer(start: base, count: count), offset: at)
        let cid = try reader.link()
        offset = reader.offset
        return cid
    }
}

extension UnsafePointer<Value.Entry> {
    /// The entry's value in place. Handing a value on by its pointer copies and retains nothing; handing on the value
    /// itself did, and that was half of the time that encoding took.
    @inline(__always)
    fileprivate var value: UnsafePointer<Value> {
        let offset = MemoryLayout<Value.Entry>.offset(of: \.value)
        return (UnsafeRawPointer(self) + offset.unsafelyUnwrapped).assumingMemoryBound(to: Value.self)
    }
}

/// How many bytes a value's encoding has, and whether its maps are in order already.
private struct CBORMeasure {
    var size = 0
    var isCanonical = true

    mutating func add(_ value: UnsafePointer<Value>) {
        switch value.pointee {
        case .null, .bool: size &+= 1
        case .integer(let integer): size &+= Self.head(UInt64(bitPattern: integer < 0 ? ~integer : integer))
        case .text(let bytes), .bytes(let bytes): size &+= Self.head(UInt64(bytes.count)) &+ bytes.count
        case .link: size &+= 41
        case .array(let items):
            size &+= Self.head(UInt64(items.count))
            items.withUnsafeBufferPointer { items in
                guard let base = items.baseAddress else { return }
                for index in 0..<items.count { add(base + index) }
            }
        case .map(let entries):
            size &+= Self.head(UInt64(entries.count))
            entries.withUnsafeBufferPointer { entries in
                guard let base = entries.baseAddress else { return }
                for index in 0..<entries.count {
                    let keySize = entries[index].key.count
                    if index > 0, entries[index &- 1].key.count >= keySize,
                        !drislPrecedes(entries[index &- 1].key, entries[index].key)
                    {
                        isCanonical = false
                    }
                    size &+= Self.head(UInt64(keySize)) &+ keySize
                    add((base + index).value)
                }
            }
        }
    }

    @inline(__always)
    private static func head(_ argument: UInt64) -> Int {
        argument < 24 ? 1 : argument < 0x100 ? 2 : argument < 0x1_0000 ? 3 : argument < 0x1_0000_0000 ? 5 : 9
    }
}

/// Writes a measured value to memory that has room for it.
private struct CBOREncoder {
    var out: UnsafeMutableRawPointer

    mutating func write(_ value: UnsafePointer<Value>) {
        switch value.pointee {
        case .null: byte(0xF6)
        case .bool(let bool): byte(bool ? 0xF5 : 0xF4)
        case .integer(let integer):
            if integer < 0 { head(0x20, UInt64(bitPattern: ~integer)) } else { head(0, UInt64(integer)) }
        case .bytes(let bytes): string(0x40, bytes)
        case .text(let text): string(0x60, text)
        case .link(let cid):
            out.storeBytes(of: UInt64(0x2558_2AD8), as: UInt64.self)
            let words = cid.digest.words
            (out + 5).storeBytes(of: 0x2012_0001 | UInt32(cid.codec.rawValue) << 8, as: UInt32.self)
            (out + 9).storeBytes(of: words.0, as: UInt64.self)
            (out + 17).storeBytes(of: words.1, as: UInt64.self)
            (out + 25).storeBytes(of: words.2, as: UInt64.self)
            (out + 33).storeBytes(of: words.3, as: UInt64.self)
            out += 41
        case .array(let items):
            head(0x80, UInt64(items.count))
            items.withUnsafeBufferPointer { items in
                guard let base = items.baseAddress else { return }
                for index in 0..<items.count { write(base + index) }
            }
        case .map(let entries):
            head(0xA0, UInt64(entries.count))
            entries.withUnsafeBufferPointer { entries in
                guard let base = entries.baseAddress else { return }
                for index in 0..<entries.count {
                    string(0x60, base[index].key)
                    write((base + index).value)
                }
            }
        }
    }

    @inline(__always)
    private mutating func byte(_ value: UInt8) {
        out.storeBytes(of: value, as: UInt8.self)
        out += 1
    }

    @inline(__always)
    private mutating func head(_ major: UInt8, _ argument: UInt64) {
        if argument < 24 { byte(major | UInt8(truncatingIfNeeded: argument)) } else { longHead(major, argument) }
    }

    private mutating func longHead(_ major: UInt8, _ argument: UInt64) {
        if argument < 0x100 {
            byte(major | 24)
            byte(UInt8(truncatingIfNeeded: argument))
        } else if argument < 0x1_0000 {
            byte(major | 25)
            out.storeBytes(of: UInt16(truncatingIfNeeded: argument).bigEndian, as: UInt16.self)
            out += 2
        } else if argument < 0x1_0000_0000 {
            byte(major | 26)
            out.storeBytes(of: UInt32(truncatingIfNeeded: argument).bigEndian, as: UInt32.self)
            out += 4
        } else {
            byte(major | 27)
            out.storeBytes(of: argument.bigEndian, as: UInt64.self)
            out += 8
        }
    }

    @inline(__always)
    private mutating func string(_ major: UInt8, _ bytes: borrowing Bytes) {
        head(major, UInt64(bytes.count))
        bytes.withUnsafeBytes { raw in
            if let source = raw.baseAddress { out.copyMemory(from: source, byteCount: raw.count) }
        }
        out += bytes.count
    }
}
