/// UTF-8 as RFC 3629 has it: no surrogates, nothing overlong, nothing past U+10FFFF.
enum UTF8Validity {
    static let highBits: UInt64 = 0x8080_8080_8080_8080

    /// Whether the `count` bytes at `start` are valid. One pass, eight ASCII bytes at a time.
    @inline(__always)
    static func isValid(_ start: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        let raw = UnsafeRawPointer(start)
        var position = 0
        while position &+ 8 <= count {
            if raw.loadUnaligned(fromByteOffset: position, as: UInt64.self) & highBits != 0 { break }
            position &+= 8
        }
        while position < count, start[position] < 0x80 { position &+= 1 }
        return position == count || isValidFrom(start, count, position)
    }

    /// The rest from the first byte that is not ASCII.
    @inline(never)
    private static func isValidFrom(_ start: UnsafePointer<UInt8>, _ count: Int, _ from: Int) -> Bool {
        var position = from
        while position < count {
            let first = start[position]
            if first < 0x80 {
                position &+= 1
                continue
            }
            let left = count &- position
            if first < 0xE0 {
                guard first >= 0xC2, left >= 2, isTrail(start[position &+ 1]) else { return false }
                position &+= 2
            } else if first < 0xF0 {
                guard left >= 3 else { return false }
                let second = start[position &+ 1]
                guard isTrail(second), isTrail(start[position &+ 2]), first != 0xE0 || second >= 0xA0,
                    first != 0xED || second < 0xA0
                else { return false }
                position &+= 3
            } else {
                guard first < 0xF5, left >= 4 else { return false }
                let second = start[position &+ 1]
                guard isTrail(second), isTrail(start[position &+ 2]), isTrail(start[position &+ 3]),
                    first != 0xF0 || second >= 0x90, first != 0xF4 || second < 0x90
                else { return false }
                position &+= 4
            }
        }
        return true
    }

    @inline(__always)
    private static func isTrail(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
}
