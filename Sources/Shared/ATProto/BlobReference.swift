public import Base

/// A reference to a blob as a record holds it. https://atproto.com/specs/data-model (Blob Type)
public struct BlobReference: Sendable, Hashable {
    /// Codec raw.
    public let cid: CID
    public let mimeType: Bytes
    /// Bytes, at least 1.
    public let size: Int64

    public init(cid: CID, mimeType: Bytes, size: Int64) {
        self.cid = cid
        self.mimeType = mimeType
        self.size = size
    }

    /// The value that a record holds, and that `uploadBlob` answers.
    public var value: Value {
        .map([
            Value.Entry(key: "ref", value: .link(cid)),
            Value.Entry(key: "size", value: .integer(size)),
            Value.Entry(key: "$type", value: .text("blob")),
            Value.Entry(key: "mimeType", value: .text(mimeType)),
        ])
    }
}

/// A record holds what claims to be a blob and is none.
public struct BlobError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Sendable, Equatable {
        /// `ref` is no link to a raw block.
        case reference
        /// `mimeType` is no text of the form `type/subtype`.
        case mimeType
        /// `size` is no integer of 1 or more.
        case size
        /// `{cid, mimeType}` of before 2023: may not be written any more.
        case legacy
    }

    public let reason: Reason
    /// The blob's place in the record, such as `embed/images/0/image`.
    public let path: Bytes

    public var description: String {
        let what =
            switch reason {
            case .reference: "invalid blob ref"
            case .mimeType: "invalid blob mimeType"
            case .size: "invalid blob size"
            case .legacy: "legacy blobs are not allowed"
            }
        return "\(what) at \(path)"
    }
}

extension BlobReference {
    /// The longest media type. RFC 6838 §4.2 allows 127 bytes for each half; parameters need some more.
    public static let mimeTypeSizeMax = 512

    /// Whether `bytes` can be the media type of a blob: `type/subtype` with optional parameters, printable ASCII only.
    public static func isMimeType(_ bytes: Bytes) -> Bool {
        guard bytes.count <= mimeTypeSizeMax, bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else { return false }
        let essence = bytes.upTo(bytes.position(of: 0x3B) ?? bytes.count)
        guard let slash = essence.position(of: 0x2F), slash > 0, slash + 1 < essence.count else { return false }
        return !essence.upTo(slash).contains(0x20) && essence[slash + 1] != 0x20
            && !essence.from(slash + 1).contains(0x2F)
    }
}

extension Value {
    /// Every blob in this value, in order, the same one as often as it is there.
    ///
    /// Throws `BlobError`, which names the place, for a `$type: blob` that lacks something or has it wrong, and for a
    /// legacy blob. Keys that a blob has besides are let be.
    public var blobReferences: [BlobReference] {
        get throws(BlobError) {
            var found: [BlobReference] = []
            var walk = BlobWalk(self)
            while let next = walk.next() {
                guard case .map(let entries) = next else { continue }
                if let blob = try walk.blob(next, entries) { found.append(blob) }
            }
            return found
        }
    }
}

extension Value {
    /// The blobs that a record of another server names, each once, in order: those of `$type: blob` and the
    /// `{cid, mimeType}` of before 2023, which old records still hold. What is neither is no blob; nothing is refused.
    public var blobCIDs: [CID] {
        var found: [CID] = []
        var seen: Set<CID> = []
        var walk = BlobWalk(self)
        while let next = walk.next() {
            guard case .map(let entries) = next else { continue }
            let cid: CID?
            if let type = next["$type"] {
                cid = type.text == "blob" ? next["ref"]?.link : nil
            } else if entries.count == 2, next["mimeType"]?.text != nil {
                cid = next["cid"]?.text.flatMap { CID(text: $0) }
            } else {
                cid = nil
            }
            if let cid, cid.codec == .raw, seen.insert(cid).inserted { found.append(cid) }
        }
        return found
    }
}

/// Walks a value without recursion, in order, and knows where it is.
private struct BlobWalk {
    private enum Level {
        case top(Value?)
        case array([Value], next: Int)
        case map([Value.Entry], next: Int)
    }

    private var levels: [Level]

    init(_ value: Value) { levels = [.top(value)] }

    /// The next value; its children come after it.
    mutating func next() -> Value? {
        while let level = levels.popLast() {
            let value: Value
            switch level {
            case .top(let top):
                guard let top else { continue }
                levels.append(.top(nil))
                value = top
            case .array(let items, let index):
                guard index < items.count else { continue }
                levels.append(.array(items, next: index + 1))
                value = items[index]
            case .map(let entries, let index):
                guard index < entries.count else { continue }
                levels.append(.map(entries, next: index + 1))
                value = entries[index].value
            }
            switch value {
            case .array(let items): levels.append(.array(items, next: 0))
            case .map(let entries): levels.append(.map(entries, next: 0))
            default: break
            }
            return value
        }
        return nil
    }

    /// The blob that `value`, the map that `next` has just given, is; nil when it isn't meant to be one.
    func blob(_ value: Value, _ entries: [Value.Entry]) throws(BlobError) -> BlobReference? {
        guard let type = value["$type"] else {
            if entries.count == 2, value["cid"]?.text != nil, value["mimeType"]?.text != nil {
                throw BlobError(reason: .legacy, path: path)
            }
            return nil
        }
        guard type.text == "blob" else { return nil }
        guard let cid = value["ref"]?.link, cid.codec == .raw else { throw BlobError(reason: .reference, path: path) }
        guard let mimeType = value["mimeType"]?.text, BlobReference.isMimeType(mimeType) else {
            throw BlobError(reason: .mimeType, path: path)
        }
        guard let size = value["size"]?.integer, size > 0 else { throw BlobError(reason: .size, path: path) }
        return BlobReference(cid: cid, mimeType: mimeType, size: size)
    }

    /// Where the value that `next` gave is, keys and indexes with slashes between. `next` has put that value's own
    /// level on top, and each level below has counted on already.
    private var path: Bytes {
        var out = Bytes()
        for level in levels.dropLast() {
            let part: Bytes
            switch level {
            case .top: continue
            case .array(_, let index): part = Bytes(String(index - 1))
            case .map(let entries, let index): part = entries[index - 1].key
            }
            out = out.isEmpty ? part : out + "/" + part
        }
        return out
    }
}
