internal import Glibc

/// A system call failed.
public struct SystemError: Error, Sendable, CustomStringConvertible {
    /// What was tried, such as `open blobs/tmp`.
    public let operation: String
    public let errno: Int32

    public init(_ operation: String, errno: Int32 = SystemError.lastErrno) {
        self.operation = operation
        self.errno = errno
    }

    /// This thread's `errno`.
    public static var lastErrno: Int32 { Glibc.errno }

    public var description: String { "\(operation): \(String(cString: strerror(errno)))" }
}

/// A full disk is the operator's to mend and means the same everywhere; the rest stays in the log.
extension SystemError: Reportable {
    public var failure: Failure {
        switch errno {
        case ENOSPC, EDQUOT: Failure(.storageFull, "InsufficientStorage", "The server has no room left for this.")
        case EROFS: Failure(.storageFull, "InsufficientStorage", "The server can't store anything now.")
        case EMFILE, ENFILE: Failure(.unavailable, "ServiceUnavailable", "The server is busy. Try again.")
        default: .internalError
        }
    }
}
