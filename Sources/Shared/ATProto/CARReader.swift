public import Base

/// Why bytes are not a CAR of version 1 as repositories use it, and at which byte.
public struct CARError: Error, Equatable, Sendable {
    public enum Reason: Sendable, Equatable {
        /// The header is not `{roots, version: 1}` in DAG-CBOR.
        case header
        case expectedOneRoot
        case varintTooLong, varintNotMinimal
        case truncated
        case sectionTooLarge
        /// Not a CIDv1 of SHA-256 over DAG-CBOR or raw bytes.
        case unsupportedCID
        case blockDoesNotMatch
    }

    public let reason: Reason
    public let offset: Int

    public init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}

/// Reads a CAR from a stream, one block at a time, and checks each block against its CID.
///
/// https://ipld.io/specs/transport/car/carv1/ with the limits of the repository specification.
public struct CARReader {
    /// Reads up to `buffer.count` bytes; 0 means the end.
    public typealias Source = (UnsafeMutableRawBufferPointer) throws -> Int

    /// The longest block, in bytes.
    public static let blockSizeMax = 2 * 1_024 * 1_024
    /// The longest header: one root needs 59 bytes.
    public static let headerSizeMax = 1_024
    /// Bytes of a varint: nine hold 63 bits.
    public static let varintSizeMax = 9

    private let input: CARInput
    /// The one root.
    public let root: CID

    /// Reads the header. Throws `CARError`, or what `source` throws.
    public init(_ source: @escaping Source) throws {
        input = CARInput(source)
        guard let section = try input.section(sizeMax: Self.headerSizeMax, tooLarge: .header), section.count > 0 else {
            throw CARError(.header, at: 0)
        }
        root = try Self.root(section)
    }

    /// A CAR in hand.
    public init(_ bytes: Bytes) throws {
        var rest = bytes
        try self.init { target in
            let part = rest.upTo(target.count)
            part.withUnsafeBytes { target.copyMemory(from: $0) }
            rest = rest.from(part.count)
            return part.count
        }
    }

    /// Bytes consumed since the beginning of the stream.
    public var offset: Int { input.offset }

    /// Hands the next block to `body`, its bytes valid inside `body` only. false at the end of the stream.
    public func next(_ body: (CID, UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        let at = input.offset
        guard let section = try input.section(sizeMax: Self.blockSizeMax + CID.byteCount, tooLarge: .sectionTooLarge)
        else { return false }
        guard section.count >= CID.byteCount else { throw CARError(.truncated, at: at) }
        guard let cid = CID(UnsafeRawBufferPointer(rebasing: section[..<CID.byteCount])) else {
            throw CARError(.unsupportedCID, at: at)
        }
        let block = UnsafeRawBufferPointer(rebasing: section[CID.byteCount...])
        guard CID(hashing: block, codec: cid.codec) == cid else { throw CARError(.blockDoesNotMatch, at: at) }
        try body(cid, block)
        return true
    }

    /// Hands every remaining block to `body`.
    public func each(_ body: (CID, UnsafeRawBufferPointer) throws -> Void) throws {
        while try next(body) {}
    }

    private static func root(_ header: UnsafeRawBufferPointer) throws -> CID {
        do {
            var reader = CBORReader(header)
            guard try reader.length(.map) == 2, try text(&reader, "roots") else { throw CARError(.header, at: 0) }
            guard try reader.length(.array) == 1 else { throw CARError(.expectedOneRoot, at: 0) }
            let root = try reader.link()
            let version = try text(&reader, "version") ? try reader.head() : (major: .simple, argument: 0)
            guard version.major == .unsigned, version.argument == 1 else { throw CARError(.header, at: 0) }
            try reader.end()
            return root
        } catch let error as CBORError {
            throw CARError(error.reason == .invalidCID ? .expectedOneRoot : .header, at: error.offset)
        }
    }

    private static func text(_ reader: inout CBORReader, _ wanted: StaticString) throws -> Bool {
        let found = try reader.string(.text)
        return wanted.withUTF8Buffer { $0.elementsEqual(found) }
    }
}

/// The buffered stream under a `CARReader`.
private final class CARInput {
    private static let chunkSize = 256 * 1_024

    private let source: CARReader.Source
    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkSize, alignment: 16)
    /// What is read and not yet consumed: `buffer[start..<end]`.
    private var start = 0
    private var end = 0
    private var isAtEnd = false
    private(set) var offset = 0

    init(_ source: @escaping CARReader.Source) { self.source = source }

    deinit { buffer.deallocate() }

    /// The content of the next section, valid until the next call; nil at the end of the stream.
    func section(sizeMax: Int, tooLarge: CARError.Reason) throws -> UnsafeRawBufferPointer? {
        let at = offset
        try fill(CARReader.varintSizeMax)
        if start == end { return nil }
        var size: UInt64 = 0
        var width = 0
        while true {
            guard width < CARReader.varintSizeMax else { throw CARError(.varintTooLong, at: at) }
            guard start + width < end else { throw CARError(.truncated, at: at) }
            let byte = buffer[start + width]
            size |= UInt64(byte & 0x7F) << UInt64(7 * width)
            width += 1
            if byte & 0x80 != 0 { continue }
            if byte == 0, width > 1 { throw CARError(.varintNotMinimal, at: at) }
            break
        }
        // Seven bits nine times stay below 2⁶³, so the size is an Int; a limit comes before any use of it.
        guard size <= UInt64(sizeMax) else { throw CARError(tooLarge, at: at) }
        let count = Int(size)
        start += width
        offset += width
        try fill(count)
        guard end - start >= count else { throw CARError(.truncated, at: at) }
        let content = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[start..<start + count])
        start += count
        offset += count
        return content
    }

    /// Reads until `wanted` bytes are there or the stream ends. The buffer grows with what arrives, not with what
    /// a length claims.
    private func fill(_ wanted: Int) throws {
        guard end - start < wanted, !isAtEnd else { return }
        if let base = buffer.baseAddress, start > 0 {
            // The parts can overlap; copyMemory allows that.
            buffer.copyMemory(from: UnsafeRawBufferPointer(start: base + start, count: end - start))
            end -= start
            start = 0
        }
        while end - start < wanted, !isAtEnd {
            if end == buffer.count { grow() }
            let count = try source(UnsafeMutableRawBufferPointer(rebasing: buffer[end...]))
            precondition(count >= 0 && count <= buffer.count - end, "a source returns at most what it was asked for")
            isAtEnd = count == 0
            end += count
        }
    }

    private func grow() {
        let grown = UnsafeMutableRawBufferPointer.allocate(byteCount: buffer.count * 2, alignment: 16)
        grown.copyMemory(from: UnsafeRawBufferPointer(buffer))
        buffer.deallocate()
        buffer = grown
    }
}
