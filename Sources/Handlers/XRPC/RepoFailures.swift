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

extension BlobUploadError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .tooLarge(let max): Failure(.tooLarge, "PayloadTooLarge", "Blob is larger than \(max) bytes")
        case .empty: .invalidRequest("A blob must not be empty")
        case .takenDown: .invalidRequest("Blob has been takendown, cannot re-upload")
        }
    }
}

extension RecordInvalid: XRPCReportable {
    var failure: Failure { Failure(.invalid, "InvalidRequest", "Invalid \(collection) record: \(problem)") }
}
