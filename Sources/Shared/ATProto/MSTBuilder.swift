public import Base
internal import Crypto

/// Makes a tree from keys in order, in one pass, with one open node a layer: for imports, exports and checks.
public final class MSTBuilder {
    /// Takes each finished node, children before parents.
    public typealias Sink = (CID, UnsafeRawBufferPointer) throws -> Void

    /// The node of one layer that is being written: its entries so far, and the value whose child is not known yet.
    fileprivate struct Level {
        var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1_024, alignment: 8)
        var used = 0
        var count = 0
        var left: CID?
        var pending: CID?
        /// The last key, in `key[..<keyCount]`.
        var key = UnsafeMutableRawBufferPointer.allocate(byteCount: MSTKey.sizeMax, alignment: 8)
        var keyCount = 0

        func release() {
            buffer.deallocate()
            key.deallocate()
        }
    }

    /// Room before the entries for the map's and the array's heads.
    fileprivate static let headRoom = 8

    private var levels: [Level] = []
    private var lastLayer = -1
    private let sink: Sink
    /// Keys taken so far.
    public private(set) var count = 0

    /// `sink` may be left out when only the root is wanted.
    public init(sink: @escaping Sink = { _, _ in }) { self.sink = sink }

    deinit { for level in levels { level.release() } }

    /// Adds a record; its key must come after all before it.
    public func append(_ key: UnsafeRawBufferPointer, _ value: CID) throws {
        guard MSTKey.isValid(key) else { throw MSTError(.invalidKey) }
        let layer = MSTKey.layer(of: key)
        guard layer <= MST.layerMax else { throw MSTError(.tooDeep) }
        if lastLayer >= 0 {
            let last = levels[lastLayer]
            let before = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(last.key)[..<last.keyCount])
            let shared = MSTBlockWriter.sharedPrefix(before, key)
            guard shared < key.count, shared == before.count || before[shared] < key[shared] else {
                throw MSTError(.builderOrder)
            }
        }
        while levels.count <= layer { levels.append(Level()) }
        let child = try close(below: layer)
        levels[layer].settle(child)
        levels[layer].start(key, value)
        lastLayer = layer
        count += 1
    }

    public func append(_ key: Bytes, _ value: CID) throws {
        try key.withUnsafeBytes { try append($0, value) }
    }

    /// Finishes the open nodes and returns the root's CID.
    public func finish() throws -> CID {
        guard count > 0 else {
            let block = MSTNode.empty.encoded()
            let cid = CID(hashing: block)
            try block.withUnsafeBytes { try sink(cid, $0) }
            return cid
        }
        // The highest level has an entry: it was made for one. What it closes to is the root.
        return try close(below: levels.count).unsafelyUnwrapped
    }

    /// Finishes the open nodes under `layer`; the last of them, or nil when there was none.
    private func close(below layer: Int) throws -> CID? {
        var child: CID?
        for index in 0..<layer {
            if levels[index].count == 0, child == nil { continue }
            levels[index].settle(child)
            let block = levels[index].finish()
            let cid = CID(hashing: block)
            try sink(cid, block)
            levels[index].reset()
            child = cid
        }
        return child
    }
}

extension MSTBuilder.Level {
    private mutating func reserve(_ more: Int) {
        let wanted = MSTBuilder.headRoom + used + more
        guard wanted > buffer.count else { return }
        let grown = UnsafeMutableRawBufferPointer.allocate(byteCount: wanted * 2, alignment: 8)
        grown.copyMemory(from: UnsafeRawBufferPointer(buffer))
        buffer.deallocate()
        buffer = grown
    }

    private mutating func write(_ more: Int, _ body: (inout MSTBlockWriter) -> Void) {
        reserve(more)
        guard let base = buffer.baseAddress else { return }
        var out = MSTBlockWriter(base + MSTBuilder.headRoom + used)
        body(&out)
        used += out.count
    }

    /// Writes the child that lies after the last entry, and with it that entry's end.
    fileprivate mutating func settle(_ child: CID?) {
        guard let value = pending else {
            left = child
            return
        }
        pending = nil
        write(2 * MSTNode.linkSize + 8) { out in
            out.optionalLink(child)
            out.letter(0x76)
            out.link(value)
        }
    }

    fileprivate mutating func start(_ key: UnsafeRawBufferPointer, _ value: CID) {
        let before = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(self.key)[..<keyCount])
        let shared = count == 0 ? 0 : MSTBlockWriter.sharedPrefix(before, key)
        write(key.count + MSTBlockWriter.entryOverhead) { out in
            out.entryStart(UnsafeRawBufferPointer(rebasing: key[shared...]), prefix: shared)
        }
        self.key.copyMemory(from: key)
        keyCount = key.count
        pending = value
        count += 1
    }

    /// The finished block, valid until this level is written again.
    fileprivate mutating func finish() -> UnsafeRawBufferPointer {
        let child = left
        write(MSTNode.linkSize + 8) { out in
            out.letter(0x6C)
            out.optionalLink(child)
        }
        // The heads' length depends on the count, so they are put right before the entries.
        let size = count < 24 ? 4 : count < 0x100 ? 5 : 6
        let start = MSTBuilder.headRoom - size
        if let base = buffer.baseAddress {
            var out = MSTBlockWriter(base + start)
            out.byte(0xA2)
            out.letter(0x65)
            out.head(4, count)
        }
        return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[start..<(MSTBuilder.headRoom + used)])
    }

    fileprivate mutating func reset() {
        used = 0
        count = 0
        left = nil
        pending = nil
        keyCount = 0
    }
}
