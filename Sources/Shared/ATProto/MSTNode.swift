public import Base
public import Crypto

/// Why a tree is not a Merkle search tree of the repository format, and in which node.
public struct MSTError: Error, Equatable, Sendable {
    public enum Reason: Sendable, Equatable {
        /// The block is not DAG-CBOR of the node's shape.
        case malformed(CBORError.Reason)
        /// A block that the walk needs is not there.
        case missingBlock
        /// The first entry shares a prefix, or a prefix is not the longest one, or it is longer than the key before.
        case wrongPrefix
        case keysNotSorted
        /// Longer than 1,024 bytes, not `collection/rkey`, or a byte outside the alphabet.
        case invalidKey
        /// A key whose hash puts it on another layer, or a child below layer 0.
        case wrongLayer
        /// A key outside the interval that the nodes above leave for it.
        case keyOutOfRange
        /// A node without entries and without a child, below the root.
        case emptyNode
        /// A root without entries above a child: it should have been trimmed.
        case untrimmedRoot
        case tooManyEntries, tooDeep
        /// An operation's inverse does not fit the tree.
        case operationMismatch
        /// Keys given to the builder out of order.
        case builderOrder
    }

    public let reason: Reason
    public let cid: CID?

    public init(_ reason: Reason, in cid: CID? = nil) {
        self.reason = reason
        self.cid = cid
    }
}

/// What the repository specification says of keys (https://atproto.com/specs/repository, Repository Paths).
public enum MSTKey {
    /// The longest key, in bytes.
    public static let sizeMax = 1_024

    /// The layer of a key: leading zero bits of its SHA-256, in pairs.
    @inlinable public static func layer(of key: UnsafeRawBufferPointer) -> Int {
        SHA256.hash(key).leadingZeroBits / 2
    }
    @inlinable public static func layer(of key: Bytes) -> Int { SHA256.hash(key).leadingZeroBits / 2 }

    /// Whether `key` is `collection/rkey`: one slash, both parts of `A–Z a–z 0–9 . _ : ~ -`, neither `.` nor `..`.
    public static func isValid(_ key: UnsafeRawBufferPointer) -> Bool {
        guard key.count >= 3, key.count <= sizeMax else { return false }
        var slash = -1
        for index in 0..<key.count {
            let byte = key[index]
            if isAllowed(byte) { continue }
            guard byte == 0x2F, slash < 0 else { return false }
            slash = index
        }
        guard slash > 0, slash < key.count - 1 else { return false }
        return !isDots(UnsafeRawBufferPointer(rebasing: key[..<slash]))
            && !isDots(UnsafeRawBufferPointer(rebasing: key[(slash + 1)...]))
    }

    /// Bit `n` of the first word is set when the byte `n` may stand in a key: digits, `-`, `.`, `:`. The second word
    /// is for the bytes from 64 on: letters, `_`, `~`. Literals, because a lazy static costs a call for every byte.
    @inline(__always) private static var allowedLow: UInt64 { 0x07FF_6000_0000_0000 }
    @inline(__always) private static var allowedHigh: UInt64 { 0x47FF_FFFE_87FF_FFFE }

    @inline(__always) private static func isAllowed(_ byte: UInt8) -> Bool {
        if byte < 64 { return allowedLow >> UInt64(byte) & 1 == 1 }
        return byte < 128 && allowedHigh >> UInt64(byte - 64) & 1 == 1
    }

    private static func isDots(_ part: UnsafeRawBufferPointer) -> Bool {
        part.count <= 2 && part.allSatisfy { $0 == 0x2E }
    }
}

/// One node of a Merkle search tree, immutable. https://atproto.com/specs/repository (MST Structure)
///
/// Child `i` lies before key `i`; the last child lies after the last key.
public final class MSTNode: Sendable {
    public enum Child: Sendable {
        case none
        case stored(CID)
        /// In memory; not yet sealed when its `cid` is nil.
        case node(MSTNode)

        public var isNone: Bool { if case .none = self { true } else { false } }

        /// nil when there is no child or it is not sealed.
        public var cid: CID? {
            switch self {
            case .none: nil
            case .stored(let cid): cid
            case .node(let node): node.cid
            }
        }
    }

    /// The most entries that one node may hold: more than any honest tree ever has.
    public static let entriesMax = 4_096

    public let keys: [Bytes]
    public let values: [CID]
    public let children: [Child]
    /// The layer that the keys' hashes say, or nil when there is no key.
    public let layer: Int?
    /// nil until the node is sealed.
    public let cid: CID?

    init(keys: [Bytes], values: [CID], children: [Child], layer: Int?, cid: CID? = nil) {
        self.keys = keys
        self.values = values
        self.children = children
        self.layer = layer
        self.cid = cid
    }

    /// The node of an empty repository.
    public static let empty: MSTNode = {
        let open = MSTNode(keys: [], values: [], children: [.none], layer: nil)
        return MSTNode(keys: [], values: [], children: [.none], layer: nil, cid: CID(hashing: open.encoded()))
    }()

    public var isEmpty: Bool { keys.isEmpty && children[0].isNone }

    /// The position of the first key that is not before `key`.
    func position(of key: Bytes) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low &+ high) >> 1
            if keys[middle] < key { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// Throws unless this may hang at `layer` strictly between `low` and `high`.
    func check(layer wanted: Int, low: Bytes?, high: Bytes?) throws(MSTError) {
        guard wanted >= 0 else { throw MSTError(.wrongLayer, in: cid) }
        guard let first = keys.first, let last = keys.last else {
            if children[0].isNone { throw MSTError(.emptyNode, in: cid) }
            return
        }
        guard layer == wanted else { throw MSTError(.wrongLayer, in: cid) }
        if let low, !(low < first) { throw MSTError(.keyOutOfRange, in: cid) }
        if let high, !(last < high) { throw MSTError(.keyOutOfRange, in: cid) }
    }
}

// MARK: The block

extension MSTNode {
    /// Bytes of a link: tag 42, byte string of 37, `00`, CID.
    static let linkSize = 41

    /// The node's block. Children that are not sealed are written as absent: seal first.
    public func encoded() -> [UInt8] { Self.encode(keys: keys, values: values, children: children) }

    static func encode(keys: [Bytes], values: [CID], children: [Child]) -> [UInt8] {
        var bound = 16 + linkSize
        for key in keys { bound += key.count + MSTBlockWriter.entryOverhead }
        return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            var out = MSTBlockWriter(UnsafeMutableRawPointer(base))
            out.byte(0xA2)
            out.letter(0x65)
            out.head(4, keys.count)
            for index in 0..<keys.count {
                keys[index].withUnsafeBytes { raw in
                    let shared =
                        index == 0 ? 0 : keys[index - 1].withUnsafeBytes { MSTBlockWriter.sharedPrefix($0, raw) }
                    out.entryStart(UnsafeRawBufferPointer(rebasing: raw[shared...]), prefix: shared)
                }
                out.optionalLink(children[index + 1].cid)
                out.letter(0x76)
                out.link(values[index])
            }
            out.letter(0x6C)
            out.optionalLink(children[0].cid)
            count = out.count
        }
    }

    /// A node from its block, checked as far as one block goes: shape, prefixes, order, keys, one layer.
    ///
    /// What needs the nodes above (layer against depth, key interval) is checked where the node is reached.
    public static func decode(_ block: UnsafeRawBufferPointer, cid: CID) throws(MSTError) -> MSTNode {
        do {
            return try parse(block, cid: cid)
        } catch let error as CBORError {
            throw MSTError(.malformed(error.reason), in: cid)
        } catch {
            throw error as? MSTError ?? MSTError(.malformed(.truncated), in: cid)
        }
    }

    public static func decode(_ block: Bytes, cid: CID) throws(MSTError) -> MSTNode {
        try block.withUnsafeBytes { (raw) throws(MSTError) in try decode(raw, cid: cid) }
    }

    private static func parse(_ block: UnsafeRawBufferPointer, cid: CID) throws -> MSTNode {
        var reader = CBORReader(block)
        guard try reader.length(.map) == 2 else { throw CBORError(.mapKeys, at: 0) }
        try reader.key(0x65)
        let count = try reader.length(.array)
        guard count <= entriesMax else { throw MSTError(.tooManyEntries, in: cid) }
        // Keys lie one after the other in one array; `ends` says where each stops.
        var text: [UInt8] = []
        text.reserveCapacity(block.count)
        var ends: [Int] = []
        ends.reserveCapacity(count)
        var values: [CID] = []
        values.reserveCapacity(count)
        var children: [Child] = [.none]
        children.reserveCapacity(count + 1)
        var layer: Int?
        var start = 0
        for index in 0..<count {
            guard try reader.length(.map) == 4 else { throw CBORError(.mapKeys, at: reader.offset) }
            try reader.key(0x6B)
            let suffix = try reader.string(.bytes)
            try reader.key(0x70)
            let prefix = try reader.head()
            guard prefix.major == .unsigned else { throw CBORError(.unexpectedType, at: reader.offset) }
            let previous = start..<text.count
            guard prefix.argument <= UInt64(previous.count) else { throw MSTError(.wrongPrefix, in: cid) }
            let shared = Int(prefix.argument)
            guard shared + suffix.count <= MSTKey.sizeMax else { throw MSTError(.invalidKey, in: cid) }
            start = text.count
            for offset in 0..<shared { text.append(text[previous.lowerBound + offset]) }
            text.append(contentsOf: suffix)
            ends.append(text.count)
            try text.withUnsafeBytes { raw in
                let before = UnsafeRawBufferPointer(rebasing: raw[previous])
                let key = UnsafeRawBufferPointer(rebasing: raw[start...])
                guard MSTKey.isValid(key) else { throw MSTError(.invalidKey, in: cid) }
                if index > 0 {
                    guard MSTBlockWriter.sharedPrefix(before, key) == shared else {
                        throw MSTError(.wrongPrefix, in: cid)
                    }
                    guard shared < key.count, shared == before.count || before[shared] < key[shared] else {
                        throw MSTError(.keysNotSorted, in: cid)
                    }
                }
                let own = MSTKey.layer(of: key)
                guard layer == nil || layer == own else { throw MSTError(.wrongLayer, in: cid) }
                layer = own
            }
            try reader.key(0x74)
            children.append(try reader.optionalLink().map { .stored($0) } ?? .none)
            try reader.key(0x76)
            values.append(try reader.link())
        }
        try reader.key(0x6C)
        if let left = try reader.optionalLink() { children[0] = .stored(left) }
        try reader.end()
        let all = Bytes(text)
        var keys: [Bytes] = []
        keys.reserveCapacity(count)
        var from = 0
        for end in ends {
            keys.append(all.slice(from..<end))
            from = end
        }
        return MSTNode(keys: keys, values: values, children: children, layer: layer, cid: cid)
    }
}

extension CBORReader {
    /// A map key of one letter.
    fileprivate mutating func key(_ letter: UInt8) throws(CBORError) {
        let at = offset
        guard remaining >= 2, bytes[at] == 0x61, bytes[at + 1] == letter else { throw CBORError(.mapKeys, at: at) }
        offset = at + 2
    }
}

/// Writes the parts of a node's block through a bare pointer. The caller has reserved the room.
struct MSTBlockWriter {
    private let base: UnsafeMutableRawPointer
    private(set) var count = 0

    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    /// The room that one entry can take beside its key: heads, letters, prefix and two links.
    static let entryOverhead = 24 + 2 * MSTNode.linkSize

    @inline(__always) mutating func byte(_ value: UInt8) {
        base.storeBytes(of: value, toByteOffset: count, as: UInt8.self)
        count &+= 1
    }

    @inline(__always) mutating func letter(_ value: UInt8) {
        byte(0x61)
        byte(value)
    }

    @inline(__always) mutating func head(_ major: UInt8, _ argument: Int) {
        if argument < 24 {
            byte(major << 5 | UInt8(truncatingIfNeeded: argument))
        } else if argument < 0x100 {
            byte(major << 5 | 24)
            byte(UInt8(truncatingIfNeeded: argument))
        } else {
            byte(major << 5 | 25)
            byte(UInt8(truncatingIfNeeded: argument >> 8))
            byte(UInt8(truncatingIfNeeded: argument))
        }
    }

    @inline(__always) mutating func link(_ cid: CID) {
        base.storeBytes(of: 0x2A_D8 as UInt16, toByteOffset: count, as: UInt16.self)
        base.storeBytes(of: 0x01_00_25_58 as UInt32, toByteOffset: count &+ 2, as: UInt32.self)
        base.storeBytes(of: cid.codec.rawValue, toByteOffset: count &+ 6, as: UInt8.self)
        base.storeBytes(of: 0x20_12 as UInt16, toByteOffset: count &+ 7, as: UInt16.self)
        base.storeBytes(of: cid.digest.words.0, toByteOffset: count &+ 9, as: UInt64.self)
        base.storeBytes(of: cid.digest.words.1, toByteOffset: count &+ 17, as: UInt64.self)
        base.storeBytes(of: cid.digest.words.2, toByteOffset: count &+ 25, as: UInt64.self)
        base.storeBytes(of: cid.digest.words.3, toByteOffset: count &+ 33, as: UInt64.self)
        count &+= MSTNode.linkSize
    }

    @inline(__always) mutating func optionalLink(_ cid: CID?) {
        if let cid { link(cid) } else { byte(0xF6) }
    }

    /// An entry up to where its child goes: map head, `k`, `p` and the letter `t`.
    @inline(__always) mutating func entryStart(_ suffix: UnsafeRawBufferPointer, prefix: Int) {
        byte(0xA4)
        letter(0x6B)
        head(2, suffix.count)
        if let source = suffix.baseAddress {
            (base + count).copyMemory(from: source, byteCount: suffix.count)
            count &+= suffix.count
        }
        letter(0x70)
        head(0, prefix)
        letter(0x74)
    }

    /// The length of the longest prefix that both share.
    static func sharedPrefix(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        let shared = Swift.min(left.count, right.count)
        var index = 0
        while index &+ 8 <= shared {
            let difference =
                left.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                ^ right.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if difference != 0 { return index &+ UInt64(littleEndian: difference).trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < shared, left[index] == right[index] { index &+= 1 }
        return index
    }
}
