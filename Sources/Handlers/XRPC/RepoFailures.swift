// What the errors of repositories are called on the wire.

internal import ATProto
internal import Base
internal import Repos

extension RepoError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .repoNotFound(let did): Failure(.notFound, "RepoNotFound", "Could not find repo for DID: \(did)")
        case .notActive(let did, let status): Self.notActive(did, status)
        case .repoExists(let did): .invalidRequest("Repo already exists: \(did)")
        case .commitSwap(let current): Failure(.conflict, "InvalidSwap", "Commit was at \(current)")
        case .recordSwap(let current):
            Failure(.conflict, "InvalidSwap", "Record was at \(current.map(\.description) ?? "null")")
        case .recordExists(let path): .invalidRequest("There is a record already: \(path)")
        case .recordNotFound(let path): .invalidRequest("There is no record: \(path)")
        case .tooManyWrites(let max): .invalidRequest("Too many writes. Max: \(max)")
        case .commitTooLarge(let max): .invalidRequest("Too many writes. Max event size: \(max / 1_000_000)MB")
        case .invalidRecord(let fault): fault.failure
        case .blobNotFound(let cid): Failure(.invalid, "BlobNotFound", "Could not find blob: \(cid)")
        case .invalidMimeType(let cid, let expected):
            Failure(
                .invalid, "InvalidMimeType",
                "Referenced Mimetype does not match stored blob. Expected: \(expected), blob: \(cid)")
        case .invalidSize(let cid, let expected):
            Failure(
                .invalid, "InvalidSize",
                "Referenced Size does not match stored blob. Expected: \(expected), blob: \(cid)")
        case .quotaExceeded(let max):
            Failure(.invalid, "QuotaExceeded", "The account's storage is full: it may take up \(max) bytes")
        case .revisionsExhausted, .corrupt: .internalError
        }
    }

    private static func notActive(_ did: DID, _ status: RepoStatus) -> Failure {
        switch status {
        case .takendown: Failure(.notFound, "RepoTakendown", "Repo has been takendown: \(did)")
        case .suspended: Failure(.notFound, "RepoSuspended", "Repo has been suspended: \(did)")
        case .deactivated: Failure(.notFound, "RepoDeactivated", "Repo has been deactivated: \(did)")
        case .deleted, .active: Failure(.notFound, "RepoNotFound", "Could not find repo for DID: \(did)")
        }
    }
}

extension RecordFault {
    var failure: Failure {
        switch self {
        case .notAnObject: .invalidRequest("Invalid record: a record must be an object")
        case .wrongType(let expected): .invalidRequest("Invalid $type: expected \(expected)")
        case .tooLarge(let max): .invalidRequest("Invalid record: longer than \(max) bytes of DAG-CBOR")
        case .blob(let error): .invalidRequest("Invalid record: \(error)")
        }
    }
}

extension RepoImportError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .tooLarge(let max): Failure(.tooLarge, "PayloadTooLarge", "Repository is larger than \(max) bytes")
        case .car(let error): .invalidRequest(error.words)
        case .commit(let error): Self.invalid("commit: \(error.words)")
        case .wrongAccount(let did): Self.invalid("the commit is of another account: \(did)")
        case .missingBlock(let cid): Self.invalid("missing block \(cid)")
        case .unreferenced(let max):
            Self.invalid("too much unreferenced data: more than \(max) bytes that the root does not reach")
        case .tree(let error):
            Self.invalid("MST: \(error.words)" + (error.cid.map { " in \($0)" } ?? ""))
        case .invalidPath(let key): Self.invalid("invalid repo path \(key)")
        case .record(let key, let problem): Self.invalid("record \(key): \(problem.words)")
        case .repoChanged:
            Failure(.conflict, "InvalidSwap", "The repository was changed while it was imported. Try again.")
        case .abandoned: Failure(.unavailable, "ServiceUnavailable", "The import was given up. Try again.")
        }
    }

    private static func invalid(_ message: String) -> Failure { Failure(.invalid, "InvalidRepo", message) }
}

extension CARError {
    fileprivate var words: String {
        switch reason {
        case .header: "CAR header: not {roots, version: 1} at byte \(offset)"
        case .expectedOneRoot: "expected one root"
        case .varintTooLong: "CAR: varint too long at byte \(offset)"
        case .varintNotMinimal: "CAR: varint not minimal at byte \(offset)"
        case .truncated: "truncated CAR at byte \(offset)"
        case .sectionTooLarge: "CAR: section too large at byte \(offset)"
        case .unsupportedCID: "CAR: unsupported CID at byte \(offset)"
        case .blockDoesNotMatch: "CAR: block does not match its CID at byte \(offset)"
        }
    }
}

extension CommitError {
    fileprivate var words: String {
        switch self {
        case .malformed(let reason): "not DAG-CBOR (\(reason))"
        case .invalidField(let field): "invalid commit field \(field)"
        case .invalidSignature: "invalid commit signature"
        }
    }
}

extension MSTError {
    fileprivate var words: String {
        switch reason {
        case .malformed(let reason): "not a node (\(reason))"
        case .missingBlock: "missing block"
        case .wrongPrefix: "wrong key prefix"
        case .keysNotSorted: "keys are not sorted"
        case .invalidKey: "invalid repo path"
        case .wrongLayer: "wrong layer"
        case .keyOutOfRange: "key out of range"
        case .emptyNode: "empty node"
        case .untrimmedRoot: "root without entries"
        case .tooManyEntries: "too many entries"
        case .tooDeep: "too deep"
        case .operationMismatch, .builderOrder: "inconsistent"
        }
    }
}

extension RepoImportError.RecordProblem {
    fileprivate var words: String {
        switch self {
        case .codec: "its CID is not of DAG-CBOR"
        case .tooLarge(let max): "longer than \(max) bytes"
        case .malformed(let error): "\(error)"
        case .notAnObject: "a record must be an object"
        }
    }
}

extension BlobUploadError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .tooLarge(let max): Failure(.tooLarge, "PayloadTooLarge", "Blob is larger than \(max) bytes")
        case .empty: .invalidRequest("A blob must not be empty")
        case .takenDown: .invalidRequest("Blob has been takendown, cannot re-upload")
        }
    }
}
