public import Base
internal import COpenSSL

/// A SHA-256 digest: 32 bytes, held inline, so that making one allocates nothing.
public struct Digest: Sendable, Hashable {
    /// The bytes in order, as four words in memory order.
    public let words: (UInt64, UInt64, UInt64, UInt64)

    /// From 32 bytes; nil for any other count.
    @inlinable public init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == 32 else { return nil }
        words = (
            bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
            bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
        )
    }

    /// Lets `body` see the 32 bytes.
    @inlinable public func withUnsafeBytes<Result, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> Result
    ) throws(E) -> Result {
        let copy = words
        return try withUnsafePointer(to: copy) { (pointer) throws(E) in
            try body(UnsafeRawBufferPointer(start: pointer, count: 32))
        }
    }

    public var bytes: [UInt8] { withUnsafeBytes { [UInt8]($0) } }

    @inlinable public static func == (left: Digest, right: Digest) -> Bool {
        left.words.0 == right.words.0 && left.words.1 == right.words.1 && left.words.2 == right.words.2
            && left.words.3 == right.words.3
    }

    @inlinable public func hash(into hasher: inout Hasher) {
        // A digest is uniform already: one word is as good as four.
        hasher.combine(words.0)
    }

    @usableFromInline init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    /// The count of zero bits before the first one: an MST key's height is half of it (repository specification).
    public var leadingZeroBits: Int {
        let first = words.0.bigEndian.leadingZeroBitCount
        if first < 64 { return first }
        let second = words.1.bigEndian.leadingZeroBitCount
        if second < 64 { return 64 + second }
        let third = words.2.bigEndian.leadingZeroBitCount
        return third < 64 ? 128 + third : 192 + words.3.bigEndian.leadingZeroBitCount
    }
}

/// SHA-256 (FIPS 180-4) by OpenSSL.
public struct SHA256 {
    private var context = SHA256_CTX()

    public init() { SHA256_Init(&context) }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        SHA256_Update(&context, bytes.baseAddress, bytes.count)
    }

    public mutating func finish() -> Digest {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) { raw in
            _ = SHA256_Final(raw.baseAddress?.assumingMemoryBound(to: UInt8.self), &context)
        }
        return Digest(words: words)
    }

    public static func hash(_ bytes: UnsafeRawBufferPointer) -> Digest {
        var hash = SHA256()
        hash.update(bytes)
        return hash.finish()
    }

    public static func hash(_ bytes: [UInt8]) -> Digest { bytes.withUnsafeBytes { hash($0) } }
    public static func hash(_ bytes: Bytes) -> Digest { bytes.withUnsafeBytes { hash($0) } }
}
