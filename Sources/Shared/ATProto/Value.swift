public import Base

/// A value of the AT Protocol data model. https://atproto.com/specs/data-model
///
/// Text and bytes are slices of the input that they came from. A map keeps its entries in DRISL order (key length,
/// then bytes), each key once.
public enum Value: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case text(Bytes)
    case bytes(Bytes)
    case link(CID)
    case array([Value])
    case map([Entry])

    /// One entry of a map.
    public struct Entry: Sendable, Equatable {
        public let key: Bytes
        public let value: Value

        public init(key: Bytes, value: Value) {
            self.key = key
            self.value = value
        }
    }
}

extension Value {
    /// The value under `key`, or nil when this is no map or has no such key.
    public subscript(_ key: Bytes) -> Value? {
        guard case .map(let entries) = self else { return nil }
        for entry in entries where entry.key == key { return entry.value }
        return nil
    }

    public var text: Bytes? { if case .text(let text) = self { text } else { nil } }
    public var integer: Int64? { if case .integer(let integer) = self { integer } else { nil } }
    public var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }
    public var link: CID? { if case .link(let link) = self { link } else { nil } }
    public var array: [Value]? { if case .array(let array) = self { array } else { nil } }
    public var bytes: Bytes? { if case .bytes(let bytes) = self { bytes } else { nil } }
    /// The entries of a map.
    public var entries: [Entry]? { if case .map(let entries) = self { entries } else { nil } }
    public var isNull: Bool { if case .null = self { true } else { false } }
}
