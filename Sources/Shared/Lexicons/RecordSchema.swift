public import ATProto
public import Base

/// A type of records, ready for checking.
public struct RecordSchema: Sendable {
    public let key: KeyRule
    public let closed: ClosedSchema

    /// The types that are built in, by collection.
    public static func builtIn(_ collection: NSID) -> RecordSchema? { BuiltIn.schemas[collection.bytes] }
}

/// A record is not what its collection's lexicon says.
public struct RecordInvalid: Error, Equatable, Sendable {
    public let collection: Bytes
    /// Such as `Record must have the property "text"`.
    public let problem: String
}
