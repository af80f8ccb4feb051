public import ATProto
public import Base

/// A lexicon document: the schemas that one namespaced identifier names. https://atproto.com/specs/lexicon
public struct Lexicon: Sendable, Equatable {
    /// The longest document, in bytes of JSON or DAG-CBOR. The network's longest has 31,257.
    public static let sizeMax = 262_144
    /// Definitions of one document.
    public static let definitionsMax = 512
    /// Schemas of one document, those inside of others counted too.
    public static let schemasMax = 10_000
    /// Entries of one `enum`, `knownValues`, `accept`, `refs`, `required`, `errors` …
    public static let listCountMax = 1_024
    /// The longest name of a definition or of a property, in bytes.
    public static let nameSizeMax = 256
    /// Permissions of a set.
    public static let permissionsMax = 256

    public let id: NSID
    /// By name: `main` and others.
    public let definitions: [Bytes: Definition]

    /// The one that the identifier alone names.
    public var main: Definition? { definitions["main"] }

    /// The name by which others refer to a definition: `com.example.thing` for `main`, else `com.example.thing#name`.
    public static func reference(_ id: NSID, _ name: Bytes) -> Bytes {
        name == "main" ? id.bytes : id.bytes + "#" + name
    }
}

/// One entry of a document's `defs`.
public enum Definition: Sendable, Equatable {
    case record(RecordRule)
    case query(MethodRule)
    case procedure(MethodRule)
    case subscription(MethodRule)
    case permissionSet(PermissionSet)
    case schema(Schema)

    /// What a value must be to be one of this; nil for what is no value.
    public var schema: Schema? {
        switch self {
        case .record(let rule): .object(rule.object)
        case .schema(.token): nil
        case .schema(let schema): schema
        case .query, .procedure, .subscription, .permissionSet: nil
        }
    }
}

/// A type of records.
public struct RecordRule: Sendable, Equatable {
    public let key: KeyRule
    public let object: ObjectRule

    public init(key: KeyRule, object: ObjectRule) {
        self.key = key
        self.object = object
    }
}

/// Which record keys a type of records has. https://atproto.com/specs/record-key
public enum KeyRule: Sendable, Equatable {
    case tid, nsid, any
    case literal(Bytes)

    public func accepts(_ key: RecordKey) -> Bool {
        switch self {
        case .any: true
        case .tid: TID(key.bytes) != nil
        case .nsid: NSID(key.bytes) != nil
        case .literal(let literal): key.bytes == literal
        }
    }

    /// What a key must be, to continue a sentence.
    var expectation: String {
        switch self {
        case .any: "must be a valid record key"
        case .tid: "must be a valid TID"
        case .nsid: "must be a valid nsid"
        case .literal(let literal): "must be \"\(literal)\""
        }
    }
}

/// A method or an event stream.
public struct MethodRule: Sendable, Equatable {
    /// A body, or the messages of a stream (without an encoding).
    public struct Body: Sendable, Equatable {
        public let encoding: Bytes
        public let schema: Schema?
    }

    /// Query parameters: booleans, integers, strings and arrays of one of them.
    public let parameters: ObjectRule?
    public let input: Body?
    public let output: Body?
    /// The names of its own errors.
    public let errors: [Bytes]
}

/// A bundle of permissions to ask for by one name. https://atproto.com/specs/permission
public struct PermissionSet: Sendable, Equatable {
    public enum Permission: Sendable, Equatable {
        /// Collections, and `create`, `update`, `delete`.
        case repo(collections: [NSID], actions: [Bytes])
        /// Methods, `*` among them; the audience is `*`, or nil when it is that of the whole set.
        case rpc(methods: [Bytes], audience: Bytes?)
        /// One with a resource or a field that this program doesn't know: it grants nothing.
        case notUnderstood
    }

    /// Shown to people: the text, and its translations by language.
    public struct Text: Sendable, Equatable {
        public let plain: Bytes?
        public let translations: [Bytes: Bytes]
    }

    public let title: Text
    public let detail: Text
    public let permissions: [Permission]
}
