public import ATProto
public import Base

/// A record ready to be written: checked, encoded and hashed, before any transaction begins.
public struct RecordBlock: Sendable {
    /// The longest record, in bytes of DAG-CBOR. https://atproto.com/specs/sync (#commit message limits)
    public static let sizeMax = 1_000_000

    public let path: RepoPath
    public let cid: CID
    /// DAG-CBOR.
    public let bytes: Bytes
    public let blobs: [BlobReference]
    /// What the record points at, when there may be only one such record for each subject.
    public let subject: Bytes?

    /// Checks `value` for being a record of `path`'s collection; adds `$type` when it is missing.
    ///
    /// Throws `RepoError.invalidRecord`.
    public init(_ path: RepoPath, _ value: Value) throws(RepoError) {
        guard case .map(var entries) = value else { throw .invalidRecord(.notAnObject) }
        let collection = path.collection.bytes
        if let type = value["$type"] {
            guard type.text == collection else { throw .invalidRecord(.wrongType(expected: collection)) }
        } else {
            let entry = Value.Entry(key: "$type", value: .text(collection))
            // DRISL order: by length, then by bytes.
            let place = entries.firstIndex { ($0.key.count, $0.key) > (5, "$type") } ?? entries.count
            entries.insert(entry, at: place)
        }
        let record = Value.map(entries)
        do throws(BlobError) { blobs = try record.blobReferences } catch { throw .invalidRecord(.blob(error)) }
        let encoded = DAGCBOR.encode(record)
        guard encoded.count <= Self.sizeMax else { throw .invalidRecord(.tooLarge(max: Self.sizeMax)) }
        self.path = path
        bytes = Bytes(encoded)
        cid = CID(hashing: encoded)
        subject = Self.subject(of: record, in: path.collection)
    }

    /// Whether a repository should hold one record of `collection` at most for each subject.
    static func hasSubject(_ collection: NSID) -> Bool {
        switch collection.bytes {
        case Collections.like, Collections.repost, Collections.follow, Collections.block: true
        default: false
        }
    }

    /// A like and a repost point at a record, a follow and a block at an account.
    static func subject(of record: Value, in collection: NSID) -> Bytes? {
        guard hasSubject(collection) else { return nil }
        return record["subject"]?["uri"]?.text ?? record["subject"]?.text
    }
}

/// One change of one record that a caller asks for.
public struct RecordWrite: Sendable {
    public enum Action: Sendable {
        /// Refused when there is a record.
        case create(RecordBlock)
        /// Refused when there is none.
        case update(RecordBlock)
        /// Creates or updates.
        case put(RecordBlock)
        /// Refused when there is none.
        case delete
        /// Nothing happens when there is none.
        case deleteIfPresent
    }

    /// What the caller says is there now.
    public enum Expectation: Sendable, Equatable {
        case anything, nothing
        case record(CID)
    }

    public let path: RepoPath
    public let action: Action
    public let expectation: Expectation

    public init(_ path: RepoPath, _ action: Action, expecting expectation: Expectation = .anything) {
        self.path = path
        self.action = action
        self.expectation = expectation
    }
}

/// What a batch of writes did.
public struct WriteOutcome: Sendable {
    /// The new commit, or nil when nothing changed.
    public let commit: CommitInfo?
    /// For each write in order, the CID of the record that is there now.
    public let records: [CID?]
}

/// A commit's name.
public struct CommitInfo: Sendable, Equatable {
    public let cid: CID
    public let rev: TID
}
