/// What the caller of a request may know about why it failed.
///
/// Domain code throws its own small enums. Each surface turns those into a `Failure` in one file (its error
/// catalogue) and renders it in its protocol's shape. Anything else that is thrown is a bug or an outage: it is
/// logged with the request's id and answered as `.internal`.
public struct Failure: Error, Equatable, Sendable {
    /// The kind decides the status: `status`, in `Web`.
    public enum Kind: Sendable, CaseIterable {
        case invalid, unauthenticated, forbidden, notFound, conflict, tooLarge, unsupportedMedia, methodNotAllowed,
            limited, misdirected, unsupported, upstream, upstreamTimeout, unavailable, storageFull, `internal`
    }

    public var kind: Kind
    /// The protocol's stable name for it, such as `InvalidSwap`.
    public var code: String
    /// One sentence for a person. Never holds a secret, SQL or a path of the server.
    public var message: String

    public init(_ kind: Kind, _ code: String, _ message: String) {
        self.kind = kind
        self.code = code
        self.message = message
    }
}

/// What several protocols and layers name alike.
extension Failure {
    /// Something unexpected: the log has the rest, under the request's id.
    public static let internalError = Failure(.internal, "InternalServerError", "Internal Server Error")

    public static func notFound(_ message: String) -> Failure { Failure(.notFound, "NotFound", message) }

    /// A service that was needed did not do its part.
    public static func upstream(_ message: String) -> Failure { Failure(.upstream, "UpstreamFailure", message) }
}

/// An error that means the same in every protocol, such as "the database is busy".
public protocol Reportable: Error {
    var failure: Failure { get }
}
