internal import Base

/// Finds, in eight bytes at once, what a JSON string can't hold as it is.
enum JSONScan {
    private static let ones: UInt64 = 0x0101_0101_0101_0101

    /// The top bit of each lane that holds a quote, a backslash or a control. Exact up to the first such lane; above
    /// it a borrow may mark others.
    @inline(__always)
    static func special(_ word: UInt64) -> UInt64 {
        let quote = (word ^ 0x2222_2222_2222_2222) &- ones
        let backslash = (word ^ 0x5C5C_5C5C_5C5C_5C5C) &- ones
        let control = word &- 0x2020_2020_2020_2020
        return (quote | backslash | control) & ~word & UTF8Validity.highBits
    }
}

/// Reads one JSON text. Recursion is bounded by `limits.depthMax` and one more.
struct JSONParser {
    private let base: UnsafePointer<UInt8>
    private let count: Int
    private let source: Bytes
    private let folds: Bool
    private let integralFloats: Bool
    private let limits: DataLimits
    private var offset = 0

    init(_ raw: UnsafeRawBufferPointer, of source: Bytes, folds: Bool, limits: DataLimits, integralFloats: Bool) {
        // An empty buffer may have no address; nothing is read from it then.
        base = (raw.baseAddress ?? UnsafeRawPointer(bitPattern: 8).unsafelyUnwrapped).assumingMemoryBound(
            to: UInt8.self)
        count = raw.count
        self.source = source
        self.folds = folds
        self.integralFloats = integralFloats
        self.limits = limits
    }

    mutating func document() throws(JSONError) -> Value {
        let value = try value(depth: 0)
        skipBlanks()
        guard offset == count else { throw JSONError(.syntax, at: offset) }
        return value
    }

    @inline(__always)
    private mutating func skipBlanks() {
        while offset < count {
            let byte = base[offset]
            guard byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            offset &+= 1
        }
    }

    /// The next byte after blanks, not consumed.
    @inline(__always)
    private mutating func next() throws(JSONError) -> UInt8 {
        skipBlanks()
        guard offset < count else { throw JSONError(.syntax, at: offset) }
        return base[offset]
    }

    private mutating func value(depth: Int) throws(JSONError) -> Value {
        switch try next() {
        case 0x22: return .text(try string())
        case 0x7B: return try object(depth: depth &+ 1)
        case 0x5B: return .array(try array(depth: depth &+ 1))
        case 0x74:
            try word("true")
            return .bool(true)
        case 0x66:
            try word("false")
            return .bool(false)
        case 0x6E:
            try word("null")
            return .null
        default: return .integer(try number())
        }
    }

    private mutating func word(_ word: StaticString) throws(JSONError) {
        let size = word.utf8CodeUnitCount
        guard count &- offset >= size else { throw JSONError(.syntax, at: offset) }
        for index in 0..<size where base[offset &+ index] != word.utf8Start[index] {
            throw JSONError(.syntax, at: offset)
        }
        offset &+= size
    }

    private mutating func array(depth: Int) throws(JSONError) -> [Value] {
        guard depth <= limits.depthMax else { throw JSONError(.tooDeep, at: offset, limit: limits.depthMax) }
        offset &+= 1
        var items: [Value] = []
        if try next() == 0x5D {
            offset &+= 1
            return items
        }
        while true {
            guard items.count < limits.containerCountMax else {
                throw JSONError(.tooManyElements, at: offset, limit: limits.containerCountMax)
            }
            do throws(JSONError) {
                items.append(try value(depth: depth))
            } catch {
                throw error.inside(Bytes(String(items.count)))
            }
            let byte = try next()
            offset &+= 1
            if byte == 0x2C { continue }
            guard byte == 0x5D else { throw JSONError(.syntax, at: offset &- 1) }
            return items
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> Value {
        let at = offset
        // One level more than a container may have is let in, because it may fold to a link or bytes.
        guard depth <= limits.depthMax || folds && depth == limits.depthMax &+ 1 else {
            throw JSONError(.tooDeep, at: at, limit: limits.depthMax)
        }
        offset &+= 1
        var entries: [Value.Entry] = []
        var isOrdered = true
        var hasDollar = false
        if try next() == 0x7D {
            offset &+= 1
        } else {
            entries.reserveCapacity(8)
            while true {
                let keyAt = offset
                guard try next() == 0x22 else { throw JSONError(.syntax, at: offset) }
                let key = try string()
                guard key.count <= limits.keySizeMax else {
                    throw JSONError(.keyTooLong, at: keyAt, limit: limits.keySizeMax)
                }
                if folds {
                    guard let first = key.first else { throw JSONError(.emptyKey, at: keyAt) }
                    if first == 0x24 { hasDollar = true }
                }
                guard entries.count < limits.containerCountMax else {
                    throw JSONError(.tooManyElements, at: keyAt, limit: limits.containerCountMax)
                }
                guard try next() == 0x3A else { throw JSONError(.syntax, at: offset) }
                offset &+= 1
                if isOrdered, let last = entries.last, !drislPrecedes(last.key, key) { isOrdered = false }
                do throws(JSONError) {
                    entries.append(Value.Entry(key: key, value: try value(depth: depth)))
                } catch {
                    throw error.inside(key)
                }
                let byte = try next()
                offset &+= 1
                if byte == 0x2C { continue }
                guard byte == 0x7D else { throw JSONError(.syntax, at: offset &- 1) }
                break
            }
        }
        if !isOrdered { try Self.order(&entries, at: at) }
        if hasDollar, let folded = try fold(entries, at: at) { return folded }
        guard depth <= limits.depthMax else { throw JSONError(.tooDeep, at: at, limit: limits.depthMax) }
        return .map(entries)
    }

    /// Puts entries in DRISL order and refuses a key that is there twice.
    private static func order(_ entries: inout [Value.Entry], at offset: Int) throws(JSONError) {
        if entries.count <= 16 {
            for index in 1..<entries.count {
                var place = index
                while place > 0, drislPrecedes(entries[place].key, entries[place &- 1].key) {
                    entries.swapAt(place, place &- 1)
                    place &-= 1
                }
            }
        } else {
            entries.sort { drislPrecedes($0.key, $1.key) }
        }
        for index in 1..<entries.count where entries[index].key == entries[index &- 1].key {
            throw JSONError(.duplicateKey(entries[index].key), at: offset)
        }
    }

    /// The link or the bytes that an object with a `$` key stands for; nil for a map, whose `$type` is checked.
    private func fold(_ entries: [Value.Entry], at: Int) throws(JSONError) -> Value? {
        for entry in entries where entry.key.first == 0x24 {
            if entry.key == "$link" {
                guard entries.count == 1, let text = entry.value.text, let cid = CID(text: text) else {
                    throw JSONError(.invalidLink, at: at)
                }
                return .link(cid)
            }
            if entry.key == "$bytes" {
                guard entries.count == 1, let text = entry.value.text, let bytes = Base64Text.decode(text) else {
                    throw JSONError(.invalidBytes, at: at)
                }
                return .bytes(Bytes(bytes))
            }
            if entry.key == "$type" {
                guard let type = entry.value.text, !type.isEmpty else { throw JSONError(.invalidType, at: at) }
            }
        }
        return nil
    }

    private mutating func number() throws(JSONError) -> Int64 {
        let at = offset
        let isNegative = base[offset] == 0x2D
        if isNegative { offset &+= 1 }
        let digitsAt = offset
        var magnitude: UInt64 = 0
        var overflows = false
        while offset < count, ByteClass.isDigit(base[offset]) {
            let (product, first) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, second) = product.addingReportingOverflow(UInt64(base[offset] &- 0x30))
            magnitude = sum
            overflows = overflows || first || second
            offset &+= 1
        }
        let digits = offset &- digitsAt
        guard digits > 0 else { throw JSONError(.syntax, at: at) }
        guard digits == 1 || base[digitsAt] != 0x30 else { throw JSONError(.syntax, at: at) }
        if offset < count, base[offset] == 0x2E || base[offset] | 0x20 == 0x65 {
            guard try fraction(at), integralFloats else { throw JSONError(.floatNotAllowed, at: at) }
        }
        guard !isNegative || magnitude > 0 || overflows else { throw JSONError(.floatNotAllowed, at: at) }
        let edge = UInt64(1) << 63
        guard !overflows, magnitude < edge || isNegative && magnitude == edge else {
            throw JSONError(.integerOutOfRange, at: at)
        }
        return isNegative ? Int64(truncatingIfNeeded: 0 &- magnitude) : Int64(truncatingIfNeeded: magnitude)
    }

    /// Consumes a fraction and an exponent; whether the number is a whole one by its looks (zeros, no exponent).
    private mutating func fraction(_ at: Int) throws(JSONError) -> Bool {
        var isWhole = true
        if base[offset] == 0x2E {
            offset &+= 1
            let from = offset
            while offset < count, ByteClass.isDigit(base[offset]) {
                if base[offset] != 0x30 { isWhole = false }
                offset &+= 1
            }
            guard offset > from else { throw JSONError(.syntax, at: at) }
        }
        if offset < count, base[offset] | 0x20 == 0x65 {
            isWhole = false
            offset &+= 1
            if offset < count, base[offset] == 0x2B || base[offset] == 0x2D { offset &+= 1 }
            let from = offset
            while offset < count, ByteClass.isDigit(base[offset]) { offset &+= 1 }
            guard offset > from else { throw JSONError(.syntax, at: at) }
        }
        return isWhole
    }

    /// A string whose quote is next: a slice of the input where nothing is escaped.
    @inline(__always)
    private mutating func string() throws(JSONError) -> Bytes {
        let start = offset &+ 1
        let raw = UnsafeRawPointer(base)
        var position = start
        var high: UInt64 = 0
        while true {
            if position &+ 8 <= count {
                let word = raw.loadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian
                let special = JSONScan.special(word)
                // Bytes after the end of the string may count as high too; that costs a check and no more.
                high |= word
                guard special != 0 else {
                    position &+= 8
                    continue
                }
                position &+= special.trailingZeroBitCount >> 3
            } else {
                guard position < count else { throw JSONError(.syntax, at: count) }
                let byte = base[position]
                high |= UInt64(byte)
                guard byte < 0x20 || byte == 0x22 || byte == 0x5C else {
                    position &+= 1
                    continue
                }
            }
            break
        }
        guard base[position] == 0x22 else { return try escaped(start, position) }
        if high & UTF8Validity.highBits != 0 {
            guard UTF8Validity.isValid(base + start, position &- start) else {
                throw JSONError(.notUnicode, at: start)
            }
        }
        offset = position &+ 1
        return source.slice(start..<position)
    }

    /// A string with an escape (or with what has to be one) at `position`: unescaped into an array of its own.
    @inline(never)
    private mutating func escaped(_ start: Int, _ position: Int) throws(JSONError) -> Bytes {
        var out: [UInt8] = []
        out.reserveCapacity(position &- start &+ 64)
        out.append(contentsOf: UnsafeBufferPointer(start: base + start, count: position &- start))
        offset = position
        while offset < count {
            let byte = base[offset]
            if byte == 0x22 {
                let isValid = out.withUnsafeBufferPointer { buffer in
                    buffer.baseAddress.map { UTF8Validity.isValid($0, buffer.count) } ?? true
                }
                guard isValid else { throw JSONError(.notUnicode, at: start) }
                offset &+= 1
                return Bytes(out)
            }
            if byte == 0x5C {
                try escape(&out)
            } else {
                guard byte >= 0x20 else { throw JSONError(.syntax, at: offset) }
                out.append(byte)
                offset &+= 1
            }
        }
        throw JSONError(.syntax, at: count)
    }

    private mutating func escape(_ out: inout [UInt8]) throws(JSONError) {
        let at = offset
        guard at &+ 1 < count else { throw JSONError(.syntax, at: at) }
        offset &+= 2
        switch base[at &+ 1] {
        case 0x22, 0x5C, 0x2F: out.append(base[at &+ 1])
        case 0x62: out.append(0x08)
        case 0x66: out.append(0x0C)
        case 0x6E: out.append(0x0A)
        case 0x72: out.append(0x0D)
        case 0x74: out.append(0x09)
        case 0x75:
            var scalar = try hex(at)
            if scalar & 0xFC00 == 0xD800 {
                guard offset &+ 1 < count, base[offset] == 0x5C, base[offset &+ 1] == 0x75 else {
                    throw JSONError(.notUnicode, at: at)
                }
                offset &+= 2
                let low = try hex(at)
                guard low & 0xFC00 == 0xDC00 else { throw JSONError(.notUnicode, at: at) }
                scalar = 0x10000 + (scalar & 0x3FF) << 10 + low & 0x3FF
            }
            guard let character = Unicode.Scalar(scalar) else { throw JSONError(.notUnicode, at: at) }
            out.append(contentsOf: UTF8.encode(character).unsafelyUnwrapped)
        default: throw JSONError(.syntax, at: at)
        }
    }

    /// Four hexadecimal digits.
    private mutating func hex(_ at: Int) throws(JSONError) -> UInt32 {
        guard count &- offset >= 4 else { throw JSONError(.syntax, at: at) }
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = base[offset]
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte &- 0x30
            case 0x41...0x46: digit = byte &- 0x37
            case 0x61...0x66: digit = byte &- 0x57
            default: throw JSONError(.syntax, at: at)
            }
            value = value << 4 | UInt32(digit)
            offset &+= 1
        }
        return value
    }
}
