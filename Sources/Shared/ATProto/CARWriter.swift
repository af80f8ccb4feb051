public import Base

/// Writes a CAR of version 1 with one root to a sink, in pieces.
public struct CARWriter {
    /// Takes the bytes in order.
    public typealias Sink = (UnsafeRawBufferPointer) throws -> Void

    /// How much is gathered before the sink is called, in bytes.
    public static let pieceSize = 64 * 1_024

    private var buffer: [UInt8]
    private let sink: Sink

    /// Writes the header.
    public init(root: CID, to sink: @escaping Sink) {
        self.sink = sink
        buffer = []
        buffer.reserveCapacity(Self.pieceSize + 4_096)
        Self.appendHeader(root, to: &buffer)
    }

    /// Writes one block. Its bytes must be those that `cid` was made from.
    public mutating func block(_ cid: CID, _ bytes: UnsafeRawBufferPointer) throws {
        Self.appendSection(cid, bytes.count, to: &buffer)
        if bytes.count >= Self.pieceSize {
            try flush()
            try sink(bytes)
            return
        }
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.pieceSize { try flush() }
    }

    public mutating func block(_ cid: CID, _ bytes: Bytes) throws {
        try bytes.withUnsafeBytes { try block(cid, $0) }
    }

    /// Hands what is still held to the sink.
    public mutating func finish() throws { try flush() }

    private mutating func flush() throws {
        guard !buffer.isEmpty else { return }
        try buffer.withUnsafeBytes { try sink($0) }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Appends the header of a CAR to bytes in hand. Loose blocks have no root.
    public static func appendHeader(_ root: CID?, to out: inout [UInt8]) {
        var header = CBORWriter(capacity: 64)
        header.map(2)
        header.key("roots")
        header.array(root == nil ? 0 : 1)
        if let root { header.link(root) }
        header.key("version")
        header.integer(1)
        appendVarint(header.out.count, to: &out)
        out.append(contentsOf: header.out)
    }

    /// Appends one block to bytes in hand.
    public static func append(_ cid: CID, _ block: UnsafeRawBufferPointer, to out: inout [UInt8]) {
        appendSection(cid, block.count, to: &out)
        out.append(contentsOf: block)
    }

    public static func append(_ cid: CID, _ block: [UInt8], to out: inout [UInt8]) {
        block.withUnsafeBytes { append(cid, $0, to: &out) }
    }

    private static func appendSection(_ cid: CID, _ count: Int, to out: inout [UInt8]) {
        appendVarint(count + CID.byteCount, to: &out)
        cid.append(to: &out)
    }

    private static func appendVarint(_ value: Int, to out: inout [UInt8]) {
        var rest = UInt64(value)
        while rest >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        out.append(UInt8(truncatingIfNeeded: rest))
    }
}

extension CBORWriter {
    /// A map key known at compile time.
    mutating func key(_ name: StaticString) { text(name) }
}
