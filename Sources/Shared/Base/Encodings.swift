/// Base 16, lower case.
public enum Hex {
    public static func encode(_ bytes: some Collection<UInt8>) -> [UInt8] {
        withContiguous(bytes) { bytes in
            [UInt8](unsafeUninitializedCapacity: bytes.count * 2) { out, written in
                for byte in bytes {
                    out[written] = digit(byte >> 4)
                    out[written + 1] = digit(byte & 15)
                    written += 2
                }
            }
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 &+ value : 0x57 &+ value }

    /// The bytes, or nil for an odd length or any other character. Upper case is taken too.
    public static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        withContiguous(text) { text -> [UInt8]? in
            guard text.count % 2 == 0 else { return nil }
            var isValid = true
            let decoded = [UInt8](unsafeUninitializedCapacity: text.count / 2) { out, written in
                while isValid, written < text.count / 2 {
                    guard let high = value(text[written * 2]), let low = value(text[written * 2 + 1]) else {
                        isValid = false
                        return
                    }
                    out[written] = high << 4 | low
                    written += 1
                }
            }
            return isValid ? decoded : nil
        }
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x57
        case 0x41...0x46: digit - 0x37
        default: nil
        }
    }
}

/// A base of 2ⁿ over an alphabet: RFC 4648's base 32 and base 64 in the forms that the protocol uses.
public struct RadixEncoding: Sendable {
    let alphabet: [UInt8]
    let values: [UInt8]
    let bits: Int
    let padded: Bool

    init(_ alphabet: StaticString, bits: Int, padded: Bool) {
        let characters = alphabet.withUTF8Buffer { [UInt8]($0) }
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, character) in characters.enumerated() { values[Int(character)] = UInt8(value) }
        self.alphabet = characters
        self.values = values
        self.bits = bits
        self.padded = padded
    }

    /// `b…` of multibase, CIDs and TLS-free names: RFC 4648 §6, lower case, no padding.
    public static let base32 = RadixEncoding("abcdefghijklmnopqrstuvwxyz234567", bits: 5, padded: false)
    /// JWS, DPoP and PLC signatures: RFC 4648 §5, no padding.
    public static let base64URL = RadixEncoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", bits: 6, padded: false)
    /// `$bytes` of the data model: RFC 4648 §4, no padding.
    public static let base64 = RadixEncoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bits: 6, padded: false)
    /// Basic credentials and refresh token ids: RFC 4648 §4, padded.
    public static let base64Padded = RadixEncoding(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bits: 6, padded: true)

    public func encode(_ bytes: some Collection<UInt8>) -> [UInt8] {
        withContiguous(bytes, encode(contiguous:))
    }

    /// The bytes, or nil when a character is foreign, the length impossible, a pad bit set or the padding wrong:
    /// exactly one text stands for each byte string.
    public func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        withContiguous(text, decode(contiguous:))
    }

    private func encode(contiguous bytes: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        let count = (bytes.count &* 8 &+ bits &- 1) / bits
        let paddedCount = padded ? (count &+ 3) / 4 * 4 : count
        let mask = 1 << bits &- 1
        return [UInt8](unsafeUninitializedCapacity: paddedCount) { out, written in
            var buffer = 0
            var held = 0
            for byte in bytes {
                buffer = buffer << 8 | Int(byte)
                held &+= 8
                while held >= bits {
                    held &-= bits
                    out[written] = alphabet[buffer >> held & mask]
                    written &+= 1
                }
                buffer &= 1 << held &- 1
            }
            if held > 0 {
                out[written] = alphabet[buffer << (bits &- held) & mask]
                written &+= 1
            }
            while written < paddedCount {
                out[written] = 0x3D
                written &+= 1
            }
        }
    }

    private func decode(contiguous text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        var count = text.count
        if padded {
            guard count % 4 == 0 else { return nil }
            for _ in 0..<2 where count > 0 && text[count - 1] == 0x3D { count -= 1 }
        }
        var isValid = true
        let decoded = [UInt8](unsafeUninitializedCapacity: count * bits / 8) { out, written in
            var buffer = 0
            var held = 0
            for position in 0..<count {
                let value = values[Int(text[position])]
                guard value != 0xFF else {
                    isValid = false
                    return
                }
                buffer = buffer << bits | Int(value)
                held &+= bits
                if held >= 8 {
                    held &-= 8
                    out[written] = UInt8(truncatingIfNeeded: buffer >> held)
                    written &+= 1
                    buffer &= 1 << held &- 1
                }
            }
            isValid = held < bits && buffer == 0
        }
        guard isValid else { return nil }
        // How many pads there are follows from the count of bytes.
        if padded, text.count - count != (3 - decoded.count % 3) % 3 { return nil }
        return decoded
    }
}

/// Lets `body` see `bytes` in one piece, copied when they are not. The work itself is then never generic: across
/// modules a generic loop would cost a call per byte.
private func withContiguous<Result>(
    _ bytes: some Collection<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> Result
) -> Result {
    bytes.withContiguousStorageIfAvailable(body) ?? [UInt8](bytes).withUnsafeBufferPointer(body)
}

/// Base 58 with Bitcoin's alphabet: `z…` of multibase, which did:key uses.
public enum Base58 {
    static let alphabet: [UInt8] = Array("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".utf8)

    public static func encode(_ bytes: [UInt8]) -> [UInt8] {
        let zeros = bytes.prefix { $0 == 0 }.count
        var digits: [UInt8] = []
        for byte in bytes.dropFirst(zeros) {
            var carry = Int(byte)
            for index in digits.indices {
                carry += Int(digits[index]) << 8
                digits[index] = UInt8(carry % 58)
                carry /= 58
            }
            while carry > 0 {
                digits.append(UInt8(carry % 58))
                carry /= 58
            }
        }
        return [UInt8](repeating: alphabet[0], count: zeros) + digits.reversed().map { alphabet[Int($0)] }
    }

    /// The bytes, or nil for a foreign character or more than `countMax` characters (the work is quadratic).
    public static func decode(_ text: some Collection<UInt8>, countMax: Int = 256) -> [UInt8]? {
        guard text.count <= countMax else { return nil }
        let zeros = text.prefix { $0 == alphabet[0] }.count
        var bytes: [UInt8] = []
        for character in text.dropFirst(zeros) {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            var carry = value
            for index in bytes.indices {
                carry += Int(bytes[index]) * 58
                bytes[index] = UInt8(carry & 0xFF)
                carry >>= 8
            }
            while carry > 0 {
                bytes.append(UInt8(carry & 0xFF))
                carry >>= 8
            }
        }
        return [UInt8](repeating: 0, count: zeros) + bytes.reversed()
    }
}
