public import Base

/// An identifier with a grammar: parse is the only way in, and equality is by bytes.
public protocol Identifier: Sendable, Hashable, CustomStringConvertible {
    var bytes: Bytes { get }
    /// nil when `bytes` is not of the grammar.
    init?(_ bytes: Bytes)
}

extension Identifier {
    public init?(_ text: String) { self.init(Bytes(text)) }
    public var description: String { bytes.description }
}

/// A DID of any method, at most 2,048 bytes. https://atproto.com/specs/did
public struct DID: Identifier, Comparable {
    public static let sizeMax = 2_048

    public let bytes: Bytes
    private let methodEnd: UInt16

    public init?(_ bytes: Bytes) {
        guard bytes.count <= Self.sizeMax, bytes.starts(with: "did:"),
            let end = bytes.from(4).position(of: 0x3A), end > 0, bytes.count > 4 + end + 1
        else { return nil }
        let isValid = bytes.withUnsafeBytes { raw in
            guard raw[4..<4 + end].allSatisfy(ByteClass.isLower), let last = raw.last else { return false }
            // A percent sign may not end the identifier; what follows one elsewhere is the method's business.
            guard last != 0x3A, last != 0x25 else { return false }
            return raw[(4 + end + 1)...].allSatisfy {
                ByteClass.isAlphanumeric($0) || $0 == 0x2E || $0 == 0x5F || $0 == 0x3A || $0 == 0x25 || $0 == 0x2D
            }
        }
        guard isValid else { return nil }
        self.bytes = bytes
        methodEnd = UInt16(4 + end)
    }

    /// `plc` of `did:plc:…`.
    public var method: Bytes { bytes.slice(4..<Int(methodEnd)) }
    /// What follows the method's colon.
    public var methodSpecific: Bytes { bytes.from(Int(methodEnd) + 1) }

    public static func == (left: DID, right: DID) -> Bool { left.bytes == right.bytes }
    public func hash(into hasher: inout Hasher) { bytes.hash(into: &hasher) }
    public static func < (left: DID, right: DID) -> Bool { left.bytes < right.bytes }
}

/// A handle, kept in lower case, at most 253 bytes. https://atproto.com/specs/handle
public struct Handle: Identifier, Comparable {
    public static let sizeMax = 253

    public let bytes: Bytes

    public init?(_ bytes: Bytes) {
        guard bytes.count >= 3, bytes.count <= Self.sizeMax else { return nil }
        let isValid = bytes.withUnsafeBytes { raw in
            let (isValid, count) = ByteClass.dotted(raw) { _, part in ByteClass.isLabel(part) }
            guard isValid, count >= 2, let dot = raw.lastIndex(of: 0x2E) else { return false }
            // A top-level domain begins with a letter, which also keeps IPv4 addresses out.
            return ByteClass.isLetter(raw[dot + 1])
        }
        guard isValid else { return nil }
        self.bytes = bytes.contains { $0 >= 0x41 && $0 <= 0x5A } ? bytes.lowercasedASCII : bytes
    }

    /// `handle.invalid`: what stands for a handle that doesn't resolve.
    public static let invalid = Handle(unchecked: "handle.invalid")

    private init(unchecked bytes: Bytes) { self.bytes = bytes }

    /// The last label.
    public var topLevelDomain: Bytes {
        bytes.from((bytes.lastIndex(of: 0x2E) ?? -1) + 1)
    }

    /// Whether the top-level domain is one that never names an account on the network (handle specification).
    /// `.test` is among them only outside of development; the caller decides about that one.
    public var isReserved: Bool {
        let reserved: [Bytes] = [
            "alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion",
        ]
        return reserved.contains(topLevelDomain)
    }

    public static func < (left: Handle, right: Handle) -> Bool { left.bytes < right.bytes }
}

/// A namespaced identifier, at most 317 bytes, kept as written. https://atproto.com/specs/nsid
public struct NSID: Identifier, Comparable {
    /// The whole of it: an authority as long as a domain may be, a dot, a name. The network holds identifiers with a
    /// longer authority and a shorter name, and the shared vectors call them valid.
    public static let sizeMax = 317

    public let bytes: Bytes
    private let nameStart: UInt16

    public init?(_ bytes: Bytes) {
        guard bytes.count <= Self.sizeMax, let dot = bytes.lastIndex(of: 0x2E) else { return nil }
        let isValid = bytes.withUnsafeBytes { raw in
            let name = raw[(dot + 1)...]
            guard name.count >= 1, name.count <= 63, ByteClass.isLetter(raw[dot + 1]),
                name.allSatisfy(ByteClass.isAlphanumeric)
            else { return false }
            let authority = UnsafeRawBufferPointer(rebasing: raw[..<dot])
            let (isValid, count) = ByteClass.dotted(authority) { index, part in
                ByteClass.isLabel(part) && (index > 0 || ByteClass.isLetter(part[0]))
            }
            return isValid && count >= 2
        }
        guard isValid else { return nil }
        self.bytes = bytes
        nameStart = UInt16(dot + 1)
    }

    /// All segments but the last, as written: `app.bsky.feed` of `app.bsky.feed.post`.
    public var authority: Bytes { bytes.upTo(Int(nameStart) - 1) }
    /// The last segment.
    public var name: Bytes { bytes.from(Int(nameStart)) }
    /// The domain that the authority names, in DNS order and lower case: `feed.bsky.app`.
    public var authorityDomain: Bytes {
        var out: [UInt8] = []
        for part in authority.lowercasedASCII.split(on: 0x2E).reversed() {
            if !out.isEmpty { out.append(0x2E) }
            out.append(contentsOf: part)
        }
        return Bytes(out)
    }

    public static func == (left: NSID, right: NSID) -> Bool { left.bytes == right.bytes }
    public func hash(into hasher: inout Hasher) { bytes.hash(into: &hasher) }
    public static func < (left: NSID, right: NSID) -> Bool { left.bytes < right.bytes }
}

/// A record key, 1–512 bytes. https://atproto.com/specs/record-key
public struct RecordKey: Identifier, Comparable {
    public static let sizeMax = 512

    public let bytes: Bytes

    public init?(_ bytes: Bytes) {
        guard bytes.count >= 1, bytes.count <= Self.sizeMax, bytes != ".", bytes != "..",
            bytes.allSatisfy({
                ByteClass.isAlphanumeric($0) || $0 == 0x2E || $0 == 0x2D || $0 == 0x5F || $0 == 0x3A || $0 == 0x7E
            })
        else { return nil }
        self.bytes = bytes
    }

    /// A TID is always a record key.
    public init(_ tid: TID) { bytes = tid.bytes }

    public static func < (left: RecordKey, right: RecordKey) -> Bool { left.bytes < right.bytes }
}

/// A DID or a handle: what `at-identifier` of the Lexicon specification takes.
public enum ATIdentifier: Identifier {
    case did(DID)
    case handle(Handle)

    public init?(_ bytes: Bytes) {
        if let did = DID(bytes) {
            self = .did(did)
        } else if let handle = Handle(bytes) {
            self = .handle(handle)
        } else {
            return nil
        }
    }

    public var bytes: Bytes {
        switch self {
        case .did(let did): did.bytes
        case .handle(let handle): handle.bytes
        }
    }

    public var did: DID? { if case .did(let did) = self { did } else { nil } }
    public var handle: Handle? { if case .handle(let handle) = self { handle } else { nil } }
}

/// A record's path in its repository, `collection/rkey`: the key of the MST. At most 1,024 bytes.
///
/// https://atproto.com/specs/repository (MST keys)
public struct RepoPath: Identifier, Comparable {
    public static let sizeMax = 1_024

    public let bytes: Bytes
    public let collection: NSID
    public let rkey: RecordKey

    public init(_ collection: NSID, _ rkey: RecordKey) {
        var out: [UInt8] = []
        out.reserveCapacity(collection.bytes.count + 1 + rkey.bytes.count)
        out.append(contentsOf: collection.bytes)
        out.append(0x2F)
        out.append(contentsOf: rkey.bytes)
        bytes = Bytes(out)
        self.collection = collection
        self.rkey = rkey
    }

    public init?(_ bytes: Bytes) {
        guard bytes.count <= Self.sizeMax, let slash = bytes.position(of: 0x2F),
            let collection = NSID(bytes.upTo(slash)), let rkey = RecordKey(bytes.from(slash + 1))
        else { return nil }
        self.bytes = bytes
        self.collection = collection
        self.rkey = rkey
    }

    public static func == (left: RepoPath, right: RepoPath) -> Bool { left.bytes == right.bytes }
    public func hash(into hasher: inout Hasher) { bytes.hash(into: &hasher) }
    public static func < (left: RepoPath, right: RepoPath) -> Bool { left.bytes < right.bytes }
}
