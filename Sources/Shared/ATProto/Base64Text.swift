internal import Base

/// `$bytes`: RFC 4648 §4. Written without padding; read with the right padding or none.
///
/// https://atproto.com/specs/data-model (padding is optional)
enum Base64Text {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// The length of the text for `count` bytes.
    static func textCount(_ count: Int) -> Int { (count &* 4 &+ 2) / 3 }

    /// The bytes, or nil for a foreign character, an impossible length, pad bits that are set or wrong padding.
    static func decode(_ text: Bytes) -> [UInt8]? {
        var characters = text
        if text.count % 4 == 0, let last = text.last, last == 0x3D {
            characters = text.upTo(text.count - (text[text.count - 2] == 0x3D ? 2 : 1))
        }
        let rest = characters.count % 4
        guard rest != 1 else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(characters.count / 4 * 3 + 2)
        let isValid = characters.withUnsafeBytes { raw in
            var held: UInt32 = 0
            var bits: UInt32 = 0
            for character in raw {
                let value: UInt8
                switch character {
                case 0x41...0x5A: value = character &- 0x41
                case 0x61...0x7A: value = character &- 0x47
                case 0x30...0x39: value = character &+ 4
                case 0x2B: value = 62
                case 0x2F: value = 63
                default: return false
                }
                held = held << 6 | UInt32(value)
                bits &+= 6
                if bits >= 8 {
                    bits &-= 8
                    out.append(UInt8(truncatingIfNeeded: held >> bits))
                    held &= 1 << bits &- 1
                }
            }
            return held == 0
        }
        return isValid ? out : nil
    }

    /// Writes the text of `count` bytes to `out`, which has room for `textCount(count)`; the end of it.
    static func write(
        _ bytes: UnsafePointer<UInt8>, _ count: Int, to out: UnsafeMutablePointer<UInt8>
    ) -> UnsafeMutablePointer<UInt8> {
        let alphabet = alphabet.utf8Start
        var out = out
        var position = 0
        while position &+ 3 <= count {
            let group =
                Int(bytes[position]) << 16 | Int(bytes[position &+ 1]) << 8 | Int(bytes[position &+ 2])
            out[0] = alphabet[group >> 18]
            out[1] = alphabet[group >> 12 & 63]
            out[2] = alphabet[group >> 6 & 63]
            out[3] = alphabet[group & 63]
            out += 4
            position &+= 3
        }
        if count &- position == 1 {
            let group = Int(bytes[position]) << 4
            out[0] = alphabet[group >> 6]
            out[1] = alphabet[group & 63]
            out += 2
        } else if count &- position == 2 {
            let group = (Int(bytes[position]) << 8 | Int(bytes[position &+ 1])) << 2
            out[0] = alphabet[group >> 12]
            out[1] = alphabet[group >> 6 & 63]
            out[2] = alphabet[group & 63]
            out += 3
        }
        return out
    }
}
