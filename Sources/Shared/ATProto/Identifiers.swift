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
public struct DID: Identifier {
    public let bytes: Bytes
    public init?(_ bytes: Bytes) { self.bytes = bytes }
}

/// A handle, kept in lower case. https://atproto.com/specs/handle
public struct Handle: Identifier {
    public let bytes: Bytes
    public init?(_ bytes: Bytes) { self.bytes = bytes.lowercasedASCII }
}

/// A namespaced identifier. https://atproto.com/specs/nsid
public struct NSID: Identifier {
    public let bytes: Bytes
    public init?(_ bytes: Bytes) { self.bytes = bytes }
}

/// A record key. https://atproto.com/specs/record-key
public struct RecordKey: Identifier {
    public let bytes: Bytes
    public init?(_ bytes: Bytes) { self.bytes = bytes }
}

/// A timestamp identifier: 13 characters of base32-sortable. https://atproto.com/specs/tid
public struct TID: Identifier, Comparable {
    public let bytes: Bytes
    public init?(_ bytes: Bytes) { self.bytes = bytes }
    public static func < (left: TID, right: TID) -> Bool { left.bytes < right.bytes }
}
