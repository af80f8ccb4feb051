public import Base
public import Crypto

/// A CID as the data model allows it: version 1, codec DAG-CBOR or raw, SHA-256. Held inline; 36 bytes in binary.
///
/// https://atproto.com/specs/data-model (CID formats)
public struct CID: Sendable, Hashable, CustomStringConvertible {
    public enum Codec: UInt8, Sendable {
        /// Records, MST nodes and commits.
        case dagCBOR = 0x71
        /// Blobs.
        case raw = 0x55
    }

    public let codec: Codec
    public let digest: Digest

    @inlinable public init(codec: Codec, digest: Digest) {
        self.codec = codec
        self.digest = digest
    }

    /// The CID of `bytes`: hashes them.
    public init(hashing bytes: UnsafeRawBufferPointer, codec: Codec = .dagCBOR) {
        self.init(codec: codec, digest: SHA256.hash(bytes))
    }
    public init(hashing bytes: [UInt8], codec: Codec = .dagCBOR) {
        self.init(codec: codec, digest: SHA256.hash(bytes))
    }
    public init(hashing bytes: Bytes, codec: Codec = .dagCBOR) {
        self.init(codec: codec, digest: SHA256.hash(bytes))
    }

    /// The length of the binary form.
    public static let byteCount = 36

    /// From the binary form: `01`, codec, `12 20`, digest. nil for anything else, longer or shorter.
    @inlinable public init?(_ raw: UnsafeRawBufferPointer) {
        guard raw.count == 36, raw[0] == 1, raw[2] == 0x12, raw[3] == 0x20, let codec = Codec(rawValue: raw[1]),
            let digest = Digest(UnsafeRawBufferPointer(rebasing: raw[4..<36]))
        else { return nil }
        self.init(codec: codec, digest: digest)
    }

    public init?(_ bytes: Bytes) {
        guard let cid = bytes.withUnsafeBytes({ CID($0) }) else { return nil }
        self = cid
    }

    /// The length of the text form.
    public static let textCount = 59

    /// From the text form `b…` (base 32, lower case, no padding), 59 characters. nil for anything else.
    public init?(text: Bytes) {
        guard let cid = text.withUnsafeBytes({ CID(text: $0) }) else { return nil }
        self = cid
    }

    /// From the text form in place.
    public init?(text: UnsafeRawBufferPointer) {
        guard text.count == Self.textCount, text[0] == 0x62 else { return nil }
        // Four whole words and what is left of a fifth: version, codec, hash, length and 32 bytes of digest.
        var words: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
        let isValid = withUnsafeMutableBytes(of: &words) { out in
            var held: UInt64 = 0
            var bits: UInt64 = 0
            var written = 0
            for position in 1..<Self.textCount {
                let character = text[position]
                let value: UInt8
                switch character {
                case 0x61...0x7A: value = character &- 0x61
                case 0x32...0x37: value = character &- 0x18
                default: return false
                }
                held = held << 5 | UInt64(value)
                bits &+= 5
                if bits >= 8 {
                    bits &-= 8
                    out[written] = UInt8(truncatingIfNeeded: held >> bits)
                    written &+= 1
                }
            }
            // 58 characters are two bits more than 36 bytes; one text stands for each CID.
            return held & 3 == 0
        }
        guard isValid,
            let cid = withUnsafeBytes(of: &words, { CID(UnsafeRawBufferPointer(rebasing: $0[..<Self.byteCount])) })
        else { return nil }
        self = cid
    }

    /// Appends the 36 bytes of the binary form.
    @inlinable public func append(to out: inout [UInt8]) {
        out.append(1)
        out.append(codec.rawValue)
        out.append(0x12)
        out.append(0x20)
        digest.withUnsafeBytes { out.append(contentsOf: $0) }
    }

    /// Lets `body` see the 36 bytes of the binary form, without an array.
    @inlinable public func withBinary<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withUnsafeTemporaryAllocation(byteCount: Self.byteCount, alignment: 8) { raw in
            raw[0] = 1
            raw[1] = codec.rawValue
            raw[2] = 0x12
            raw[3] = 0x20
            digest.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: raw[4...]).copyMemory(from: $0) }
            return try body(UnsafeRawBufferPointer(raw))
        }
    }

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(Self.byteCount)
        append(to: &out)
        return out
    }

    /// The text form, `bafy…` or `bafk…`.
    public var text: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.textCount) { out, count in
            if let base = out.baseAddress { writeText(to: base) }
            count = Self.textCount
        }
    }

    /// Writes the 59 characters of the text form to `out`, which must have room for them.
    func writeText(to out: UnsafeMutablePointer<UInt8>) {
        let raw = UnsafeMutableRawPointer(out)
        out[0] = 0x62
        let words = digest.words
        let (a, b) = (words.0.bigEndian, words.1.bigEndian)
        let (c, d) = (words.2.bigEndian, words.3.bigEndian)
        // Seven groups of five bytes, each the low 40 bits of a word, then one byte.
        Self.writeGroup(0x01_0012_2000 | UInt64(codec.rawValue) << 24 | a >> 56, to: raw + 1)
        Self.writeGroup(a >> 16, to: raw + 9)
        Self.writeGroup(a << 24 | b >> 40, to: raw + 17)
        Self.writeGroup(b, to: raw + 25)
        Self.writeGroup(c >> 24, to: raw + 33)
        Self.writeGroup(c << 16 | d >> 48, to: raw + 41)
        Self.writeGroup(d >> 8, to: raw + 49)
        let last = UInt8(truncatingIfNeeded: d)
        out[57] = Self.character(last >> 3)
        out[58] = Self.character(last << 2 & 31)
    }

    private static func character(_ value: UInt8) -> UInt8 { value < 26 ? 0x61 &+ value : 0x18 &+ value }

    /// Eight characters of base 32 from the low 40 bits of `bits`, all lanes at once.
    private static func writeGroup(_ bits: UInt64, to out: UnsafeMutableRawPointer) {
        // 40 bits are spread to two lanes of 20, four of 10, eight of 5.
        var lanes = (bits & 0xFF_FFF0_0000) << 12 | bits & 0xF_FFFF
        lanes = (lanes & 0x000F_FC00_000F_FC00) << 6 | lanes & 0x0000_03FF_0000_03FF
        lanes = (lanes & 0x03E0_03E0_03E0_03E0) << 3 | lanes & 0x001F_001F_001F_001F
        // A lane of 26 or more has its top bit set by adding 102; those are digits, the others letters.
        let digits = (lanes &+ 0x6666_6666_6666_6666) >> 7 & 0x0101_0101_0101_0101
        let characters = lanes &+ 0x6161_6161_6161_6161 &- digits &* 73
        out.storeBytes(of: characters.bigEndian, as: UInt64.self)
    }

    public var description: String { String(decoding: text, as: UTF8.self) }

    @inlinable public static func == (left: CID, right: CID) -> Bool {
        left.digest == right.digest && left.codec == right.codec
    }
    @inlinable public func hash(into hasher: inout Hasher) { digest.hash(into: &hasher) }
}
