public import ATProto
public import Base

/// What a repository can refuse, or find broken.
public enum RepoError: Error, Equatable, Sendable {
    case repoNotFound(DID)
    /// The repository is deactivated, taken down, suspended or deleted.
    case notActive(DID, RepoStatus)
    case repoExists(DID)
    /// The commit that the caller said is the current one is not; the current one is given.
    case commitSwap(current: CID)
    /// The record that the caller said is there is not; what is there is given.
    case recordSwap(current: CID?)
    case recordExists(Bytes)
    case recordNotFound(Bytes)
    case tooManyWrites(max: Int)
    /// The commit's blocks would not fit into one event.
    case commitTooLarge(max: Int)
    case invalidRecord(RecordFault)
    case blobNotFound(CID)
    case invalidMimeType(CID, expected: Bytes)
    case invalidSize(CID, expected: Int)
    /// The account would take up more than this many bytes.
    case quotaExceeded(max: Int)
    /// There is no revision after the last one.
    case revisionsExhausted
    /// What is stored is not what this program writes.
    case corrupt(String)
}

/// Why a value can't be a record.
public enum RecordFault: Error, Equatable, Sendable {
    case notAnObject
    /// `$type` is missing and may not be added, is not text, or is not the collection.
    case wrongType(expected: Bytes)
    /// The block is longer than `RecordBlock.sizeMax` bytes.
    case tooLarge(max: Int)
    case blob(BlobError)
}

/// Whether a repository is served, as sync says it. https://atproto.com/specs/account (account statuses)
public enum RepoStatus: String, Sendable, Hashable, CaseIterable {
    case active, deactivated, takendown, suspended, deleted
}
