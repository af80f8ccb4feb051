public import ATProto
public import Base

/// Why a CAR can't take a repository's place. Nothing was changed.
public enum RepoImportError: Error, Equatable, Sendable {
    /// The CAR, or the records that it stands for, are longer than this many bytes.
    case tooLarge(max: Int)
    case car(CARError)
    case commit(CommitError)
    /// The commit is of another account.
    case wrongAccount(DID)
    /// A block that the root reaches is not in the CAR: the commit, a node or a record.
    case missingBlock(CID)
    /// Blocks that the root does not reach have more than this many bytes.
    case unreferenced(max: Int)
    case tree(MSTError)
    /// A key that is no repository path: no NSID, or no record key.
    case invalidPath(Bytes)
    case record(Bytes, RecordProblem)
    /// The repository was written to, moved or removed since the import began.
    case repoChanged
    /// The import was given up: it made no progress for too long, the account began another, or was removed.
    case abandoned

    public enum RecordProblem: Equatable, Sendable {
        /// Named by a CID of another codec than DAG-CBOR.
        case codec
        case tooLarge(max: Int)
        case malformed(CBORError)
        case notAnObject
    }
}
