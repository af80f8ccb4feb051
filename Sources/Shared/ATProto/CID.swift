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

    /// From the text form `b…` (base 32, lower case, no padding), 59 characters. nil for anything else.
    public init?(text: Bytes) {
        guard text.count == 59, text[0] == 0x62, let binary = RadixEncoding.base32.decode(text.from(1)),
            let cid = binary.withUnsafeBytes({ CID($0) })
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

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(Self.byteCount)
        append(to: &out)
        return out
    }

    /// The text form, `bafy…` or `bafk…`.
    public var text: [UInt8] { [0x62] + RadixEncoding.base32.encode(bytes) }

    public var description: String { String(decoding: text, as: UTF8.self) }

    @inlinable public static func == (left: CID, right: CID) -> Bool {
        left.digest == right.digest && left.codec == right.codec
    }
    @inlinable public func hash(into hasher: inout Hasher) { digest.hash(into: &hasher) }
}
