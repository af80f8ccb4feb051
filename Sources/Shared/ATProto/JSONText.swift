internal import Base

/// The pieces of JSON text, written to memory that the caller has made room in.
enum JSONText {
    typealias Out = UnsafeMutablePointer<UInt8>

    @inline(__always)
    static func word(_ word: StaticString, to out: Out) -> Out {
        let size = word.utf8CodeUnitCount
        UnsafeMutableRawPointer(out).copyMemory(from: word.utf8Start, byteCount: size)
        return out + size
    }

    /// Decimal digits; how many bytes were written, at most 20.
    @inline(__always)
    static func integer(_ value: Int64, to out: Out) -> Int {
        var magnitude = value.magnitude
        var start = 0
        if value < 0 {
            out[0] = 0x2D
            start = 1
        }
        var size = 1
        var bound: UInt64 = 10
        while magnitude >= bound {
            size &+= 1
            // 10¹⁹ fits 64 bits, and an Int64 has no more than 19 digits.
            if size == 19 { break }
            bound &*= 10
        }
        var position = start &+ size
        repeat {
            position &-= 1
            out[position] = 0x30 | UInt8(truncatingIfNeeded: magnitude % 10)
            magnitude /= 10
        } while position > start
        return start &+ size
    }

    /// Writes the characters of a string, escaping what JSON can't hold. Writes at most 6 bytes for each, and
    /// scribbles on 8 more. `readable` bytes can be read from `source`, `count` or more.
    @inline(__always)
    static func escape(_ source: UnsafeRawPointer, _ count: Int, readable: Int, to out: Out) -> Out {
        var out = out
        var position = 0
        while position < count {
            let left = count &- position
            if readable &- position >= 8 {
                let word = source.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                var special = JSONScan.special(word.littleEndian)
                if left < 8 { special &= 1 << UInt64(left &* 8) &- 1 }
                UnsafeMutableRawPointer(out).storeBytes(of: word, as: UInt64.self)
                if special == 0 {
                    let step = min(left, 8)
                    out += step
                    position &+= step
                    continue
                }
                let plain = special.trailingZeroBitCount >> 3
                out += plain
                position &+= plain
                out = escape(source.load(fromByteOffset: position, as: UInt8.self), to: out)
                position &+= 1
            } else {
                let byte = source.load(fromByteOffset: position, as: UInt8.self)
                if byte >= 0x20, byte != 0x22, byte != 0x5C {
                    out[0] = byte
                    out += 1
                } else {
                    out = escape(byte, to: out)
                }
                position &+= 1
            }
        }
        return out
    }

    @inline(never)
    private static func escape(_ byte: UInt8, to out: Out) -> Out {
        out[0] = 0x5C
        switch byte {
        case 0x22, 0x5C: out[1] = byte
        case 0x08: out[1] = 0x62
        case 0x09: out[1] = 0x74
        case 0x0A: out[1] = 0x6E
        case 0x0C: out[1] = 0x66
        case 0x0D: out[1] = 0x72
        default:
            let low = byte & 15
            out[1] = 0x75
            out[2] = 0x30
            out[3] = 0x30
            out[4] = 0x30 | byte >> 4
            out[5] = low < 10 ? 0x30 | low : 0x57 &+ low
            return out + 6
        }
        return out + 2
    }

    @inline(__always)
    static func link(_ cid: CID, to out: Out) -> Out {
        let text = word("{\"$link\":\"", to: out)
        cid.writeText(to: text)
        return word("\"}", to: text + CID.textCount)
    }

    @inline(__always)
    static func bytes(_ raw: UnsafeRawBufferPointer, to out: Out) -> Out {
        var out = word("{\"$bytes\":\"", to: out)
        if let base = raw.baseAddress {
            out = Base64Text.write(base.assumingMemoryBound(to: UInt8.self), raw.count, to: out)
        }
        return word("\"}", to: out)
    }
}

/// Turns one stored block into JSON text. Every read is checked against the input, every write against the room.
struct CBORTranscoder {
    /// The most bytes of JSON that one byte of CBOR becomes, with the comma or colon after it.
    static let expansionMax = 14
    /// What word-wise stores may touch after the last byte, and a comma before the first.
    static let slack = 32

    private var reader: CBORReader
    private(set) var out: JSONText.Out
    private let end_: JSONText.Out

    init(_ raw: UnsafeRawBufferPointer, out: JSONText.Out, end: JSONText.Out) {
        reader = CBORReader(raw)
        self.out = out
        end_ = end
    }

    func end() throws(CBORError) { try reader.end() }

    /// The room that `expansionMax` promises is there for `count` more bytes. A programmer's error otherwise.
    @inline(__always)
    private func check(_ count: Int) { precondition(end_ - out >= count, "no room") }

    mutating func item(depth: Int) throws(CBORError) {
        let at = reader.offset
        let first = try reader.peek()
        switch first >> 5 {
        case 0, 1:
            guard let magnitude = Int64(exactly: try reader.head().argument) else {
                throw CBORError(.integerOutOfRange, at: at)
            }
            check(24)
            out += JSONText.integer(first < 0x20 ? magnitude : ~magnitude, to: out)
        case 2:
            let content = try reader.string(.bytes)
            check(content.count &* 2 &+ 24)
            out = JSONText.bytes(content, to: out)
        case 3: try text()
        case 4: try array(at, depth &+ 1)
        case 5: try map(at, depth &+ 1)
        case 6:
            let cid = try reader.link()
            check(80)
            out = JSONText.link(cid, to: out)
        default:
            check(8)
            switch first {
            case 0xF4: out = JSONText.word("false", to: out)
            case 0xF5: out = JSONText.word("true", to: out)
            case 0xF6: out = JSONText.word("null", to: out)
            default: throw CBORError(.unsupportedSimpleValue, at: at)
            }
            reader.offset = at &+ 1
        }
    }

    @inline(__always)
    private mutating func text() throws(CBORError) {
        let size = try reader.length(.text)
        check(size &* 6 &+ 16)
        out[0] = 0x22
        out += 1
        if size > 0, let base = reader.bytes.baseAddress {
            out = JSONText.escape(base + reader.offset, size, readable: reader.remaining, to: out)
        }
        out[0] = 0x22
        out += 1
        reader.offset &+= size
    }

    private mutating func array(_ at: Int, _ depth: Int) throws(CBORError) {
        guard depth <= DataLimits.depthCeiling else {
            throw CBORError(.tooDeep, at: at, limit: DataLimits.depthCeiling)
        }
        let size = try reader.length(.array)
        check(4)
        byte(0x5B)
        for index in 0..<size {
            if index > 0 { byte(0x2C) }
            try item(depth: depth)
        }
        byte(0x5D)
    }

    private mutating func map(_ at: Int, _ depth: Int) throws(CBORError) {
        guard depth <= DataLimits.depthCeiling else {
            throw CBORError(.tooDeep, at: at, limit: DataLimits.depthCeiling)
        }
        let size = try reader.length(.map)
        check(4)
        byte(0x7B)
        for index in 0..<size {
            if index > 0 { byte(0x2C) }
            try text()
            byte(0x3A)
            try item(depth: depth)
        }
        byte(0x7D)
    }

    @inline(__always)
    private mutating func byte(_ byte: UInt8) {
        check(1)
        out[0] = byte
        out += 1
    }
}
