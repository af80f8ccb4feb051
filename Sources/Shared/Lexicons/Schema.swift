internal import ATProto
public import Base

/// A schema of the Lexicon language: what a value must be. https://atproto.com/specs/lexicon
public indirect enum Schema: Sendable, Equatable {
    case boolean(BooleanRule)
    case integer(IntegerRule)
    case string(StringRule)
    case bytes(SizeRule)
    case link
    case blob(BlobRule)
    case array(ArrayRule)
    case object(ObjectRule)
    /// The definition of this name, such as `com.example.defs#thing`: always with its NSID, never with `#main`.
    case reference(Bytes)
    case union(UnionRule)
    /// Any object of the data model.
    case unknown
    /// Stands for its own name; no value is one.
    case token
}

public struct BooleanRule: Sendable, Equatable {
    public var constant: Bool?
    public var fallback: Bool?

    public init(constant: Bool? = nil, fallback: Bool? = nil) {
        self.constant = constant
        self.fallback = fallback
    }
}

public struct IntegerRule: Sendable, Equatable {
    public var min: Int64
    public var max: Int64
    /// The only values that are allowed; nil when others are.
    public var values: [Int64]?
    public var constant: Int64?
    public var fallback: Int64?

    public init(min: Int64 = .min, max: Int64 = .max) {
        self.min = min
        self.max = max
    }
}

/// A lower and an upper bound of a count, both included.
public struct SizeRule: Sendable, Equatable {
    public var min: Int
    public var max: Int

    public init(min: Int = 0, max: Int = .max) {
        self.min = min
        self.max = max
    }
}

public struct StringRule: Sendable, Equatable {
    public var format: TextFormat?
    /// Of the text in UTF-8, in bytes.
    public var size: SizeRule
    /// In grapheme clusters (Unicode Standard Annex 29).
    public var graphemes: SizeRule
    /// The only values that are allowed; nil when others are.
    public var values: [Bytes]?
    /// Values that others are likely to know. Nothing is refused for not being among them.
    public var known: [Bytes] = []
    public var constant: Bytes?
    public var fallback: Bytes?

    public init(_ format: TextFormat? = nil, size: SizeRule = SizeRule(), graphemes: SizeRule = SizeRule()) {
        self.format = format
        self.size = size
        self.graphemes = graphemes
    }
}

/// The string formats of the specification, by their names there.
public enum TextFormat: String, Sendable, CaseIterable {
    case atIdentifier = "at-identifier"
    case atURI = "at-uri"
    case cid, datetime, did, handle, nsid, tid, uri, language
    case recordKey = "record-key"

    /// Whether `text` has the form.
    public func accepts(_ text: Bytes) -> Bool {
        switch self {
        case .atIdentifier: ATIdentifier(text) != nil
        case .atURI: ATURI(text) != nil
        case .cid: StringFormat.isCID(text)
        case .datetime: Datetime.isSyntax(text)
        case .did: DID(text) != nil
        case .handle: Handle(text) != nil
        case .nsid: NSID(text) != nil
        case .tid: TID(text) != nil
        case .uri: StringFormat.isURI(text)
        case .language: StringFormat.isLanguage(text)
        case .recordKey: RecordKey(text) != nil
        }
    }

    /// What a text must be, to continue a sentence.
    var expectation: String {
        switch self {
        case .atIdentifier: "must be a valid did or a handle"
        case .atURI: "must be a valid at-uri"
        case .cid: "must be a cid string"
        case .datetime: "must be a valid atproto datetime"
        case .did: "must be a valid did"
        case .handle: "must be a valid handle"
        case .nsid: "must be a valid nsid"
        case .tid: "must be a valid TID"
        case .uri: "must be a uri"
        case .language: "must be a well-formed BCP 47 language tag"
        case .recordKey: "must be a valid record key"
        }
    }
}

public struct BlobRule: Sendable, Equatable {
    /// Media types, of which `type/*` stands for all of a kind and `*/*` for all. Empty: all.
    public var accept: [Bytes]
    /// In bytes.
    public var sizeMax: Int64

    public init(accept: [Bytes] = [], sizeMax: Int64 = .max) {
        self.accept = accept
        self.sizeMax = sizeMax
    }

    func accepts(_ mimeType: Bytes) -> Bool {
        if accept.isEmpty { return true }
        return accept.contains { pattern in
            if pattern == mimeType || pattern == "*/*" { return true }
            return pattern.ends(with: "/*") && mimeType.starts(with: pattern.upTo(pattern.count - 1))
        }
    }
}

public struct ArrayRule: Sendable, Equatable {
    public var items: Schema
    public var count: SizeRule

    public init(_ items: Schema, count: SizeRule = SizeRule()) {
        self.items = items
        self.count = count
    }
}

public struct ObjectRule: Sendable, Equatable {
    public struct Property: Sendable, Equatable {
        public let name: Bytes
        public let schema: Schema
        public let isRequired: Bool
        /// Whether `null` may stand in its place.
        public let isNullable: Bool
    }

    /// In the order of a map's keys, each name once. Others may be there: lexicons grow.
    public let properties: [Property]

    public init(_ properties: [Property]) {
        self.properties = properties.sorted { drislPrecedes($0.name, $1.name) }
    }

    /// The property of this name.
    public subscript(_ name: Bytes) -> Property? { properties.first { $0.name == name } }
}

/// An object whose `$type` says which one of several schemas it has.
public struct UnionRule: Sendable, Equatable {
    public struct Variant: Sendable, Equatable {
        public let type: Bytes
        public let schema: Schema
    }

    public var variants: [Variant]
    /// Whether a `$type` that is not named here is refused.
    public var isClosed: Bool

    public init(_ variants: [Variant], isClosed: Bool = false) {
        self.variants = variants
        self.isClosed = isClosed
    }
}

/// What is wrong and where: in a value, or in a lexicon itself.
public struct SchemaProblem: Error, Equatable, Sendable {
    /// Keys and indexes with slashes between, such as `embed/images/0/alt`; empty at the top.
    public private(set) var path: Bytes
    /// Continues the sentence that begins with the place: `must be a string`.
    public let message: String

    init(_ message: String) {
        path = Bytes()
        self.message = message
    }

    /// The same problem, one container further out.
    func inside(_ key: Bytes) -> SchemaProblem {
        var problem = self
        problem.path = path.isEmpty ? key : key + "/" + path
        return problem
    }

    func inside(_ index: Int) -> SchemaProblem { inside(Bytes(String(index))) }

    /// `Record/embed/images/0 must have the property "alt"`, where `root` is what stands for the whole.
    public func sentence(_ root: String) -> String {
        path.isEmpty ? "\(root) \(message)" : "\(root)/\(path) \(message)"
    }
}
