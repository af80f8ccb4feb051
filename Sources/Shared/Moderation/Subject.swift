public import ATProto
public import Base

/// What a report or a moderator's decision is about.
public enum Subject: Sendable, Equatable {
    case account(DID)
    /// A record, and which version of it was seen.
    case record(DID, RepoPath, CID?)
    case blob(DID, CID)

    /// Whose it is.
    public var did: DID {
        switch self {
        case .account(let did), .record(let did, _, _), .blob(let did, _): did
        }
    }

    /// The AT URI of an account or a record; a blob has none.
    public var uri: Bytes? {
        switch self {
        case .account(let did): "at://" + did.bytes
        case .record(let did, let path, _): ATURI(did, path).bytes
        case .blob: nil
        }
    }

    public var cid: CID? {
        switch self {
        case .account: nil
        case .record(_, _, let cid): cid
        case .blob(_, let cid): cid
        }
    }

    /// For the log: a DID, an AT URI, or `DID blob CID`.
    public var words: Bytes {
        switch self {
        case .account(let did): did.bytes
        case .record(let did, let path, _): ATURI(did, path).bytes
        case .blob(let did, let cid): did.bytes + " blob " + Bytes(cid.text)
        }
    }
}

extension Subject {
    /// The types of subjects on the wire (`com.atproto.admin.defs`, `com.atproto.repo.strongRef`).
    public enum WireType {
        public static let account: Bytes = "com.atproto.admin.defs#repoRef"
        public static let record: Bytes = References.strongRef
        public static let blob: Bytes = "com.atproto.admin.defs#repoBlobRef"
    }

    /// Writes the subject as the object that requests and answers have.
    public func write(to writer: inout JSONWriter) {
        func field(_ name: StaticString, _ text: Bytes) {
            writer.key(name)
            writer.string(text)
        }
        writer.beginObject()
        switch self {
        case .account(let did):
            field("$type", WireType.account)
            field("did", did.bytes)
        case .record(let did, let path, let cid):
            field("$type", WireType.record)
            field("uri", ATURI(did, path).bytes)
            if let cid { field("cid", Bytes(cid.text)) }
        case .blob(let did, let cid):
            field("$type", WireType.blob)
            field("did", did.bytes)
            field("cid", Bytes(cid.text))
        }
        writer.endObject()
    }
}
