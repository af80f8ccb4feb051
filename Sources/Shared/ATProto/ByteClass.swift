internal import Base

/// Classes of ASCII bytes, for grammars.
enum ByteClass {
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }
    static func isLower(_ byte: UInt8) -> Bool { byte &- 0x61 < 26 }
    static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }
    static func isAlphanumeric(_ byte: UInt8) -> Bool { isLetter(byte) || isDigit(byte) }

    /// 1–63 letters, digits and inner hyphens: a DNS label (RFC 1035 §2.3.1, RFC 1123 §2.1).
    static func isLabel(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 1, bytes.count <= 63, let first = bytes.first, let last = bytes.last else { return false }
        guard first != 0x2D, last != 0x2D else { return false }
        return bytes.allSatisfy { isAlphanumeric($0) || $0 == 0x2D }
    }

    /// Calls `body` with each part between dots and its index, until it says no. False then, else true.
    /// The count of parts comes back too.
    static func dotted(
        _ bytes: UnsafeRawBufferPointer, _ body: (_ index: Int, _ part: UnsafeRawBufferPointer) -> Bool
    ) -> (isValid: Bool, count: Int) {
        var from = 0
        var index = 0
        for position in 0...bytes.count where position == bytes.count || bytes[position] == 0x2E {
            guard body(index, UnsafeRawBufferPointer(rebasing: bytes[from..<position])) else { return (false, index) }
            index += 1
            from = position + 1
        }
        return (true, index)
    }
}
