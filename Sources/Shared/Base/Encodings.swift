/// Base 16, lower case.
public enum Hex {
    public static func encode(_ bytes: some Collection<UInt8>) -> [UInt8] {
        let digits: [UInt8] = Array("0123456789abcdef".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            out.append(digits[Int(byte >> 4)])
            out.append(digits[Int(byte & 15)])
        }
        return out
    }

    /// The bytes, or nil for an odd length or any other character. Upper case is taken too.
    public static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count % 2 == 0 else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(text.count / 2)
        var high: UInt8?
        for character in text {
            let digit: UInt8
            switch character {
            case 0x30...0x39: digit = character - 0x30
            case 0x61...0x66: digit = character - 0x57
            case 0x41...0x46: digit = character - 0x37
            default: return nil
            }
            if let first = high {
                out.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return out
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
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count * 8 / bits + 4)
        var buffer: UInt32 = 0
        var held = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            held += 8
            while held >= bits {
                held -= bits
                out.append(alphabet[Int(buffer >> UInt32(held)) & (1 << bits - 1)])
            }
            buffer &= 1 << UInt32(held) - 1
        }
        if held > 0 { out.append(alphabet[Int(buffer << UInt32(bits - held)) & (1 << bits - 1)]) }
        if padded { while out.count % 4 != 0 { out.append(0x3D) } }
        return out
    }

    /// The bytes, or nil when a character is foreign, the length impossible, a pad bit set or the padding wrong:
    /// exactly one text stands for each byte string.
    public func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var characters = text[...]
        if padded {
            guard text.count % 4 == 0 else { return nil }
            for _ in 0..<2 where characters.suffix(1).first == 0x3D { characters = characters.dropLast() }
        }
        var out: [UInt8] = []
        out.reserveCapacity(characters.count * bits / 8)
        var buffer: UInt32 = 0
        var held = 0
        for character in characters {
            let value = values[Int(character)]
            guard value != 0xFF else { return nil }
            buffer = buffer << UInt32(bits) | UInt32(value)
            held += bits
            if held >= 8 {
                held -= 8
                out.append(UInt8(truncatingIfNeeded: buffer >> UInt32(held)))
                buffer &= 1 << UInt32(held) - 1
            }
        }
        guard held < bits, buffer == 0 else { return nil }
        if padded, encode(out).count != text.count { return nil }
        return out
    }
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
