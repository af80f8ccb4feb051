// The error catalogue of the administrator's pages: sentences for the person who reads them.

internal import Accounts
internal import Base
internal import Hosting
internal import Identity
internal import Moderation
internal import Repos
internal import Web

enum AdminFailures {
    static let absent = Failure(.notFound, "NotFound", "There is nothing here.")

    /// What the router found no page for, in a sentence.
    static func unrouted(_ failure: Failure) -> Failure {
        guard failure.kind == .methodNotAllowed else { return absent }
        return Failure(.methodNotAllowed, failure.code, "This is done from a page, not by its address.")
    }

    static func failure(_ error: any Error) -> Failure {
        switch error {
        case let failure as Failure: failure
        case let error as any Reportable: error.failure
        case AccountError.notFound, RepoError.repoNotFound:
            Failure(.notFound, "NotFound", "There is no such account here any more.")
        case ModerationError.reportNotFound: Failure(.notFound, "NotFound", "There is no such report.")
        case let error as IdentityError:
            Failure(.upstream, "UpstreamFailure", "The identity's directory or host did not do it: \(error).")
        default: Failure(.internal, "InternalServerError", "Something went wrong on this server.")
        }
    }

    static func status(_ kind: Failure.Kind) -> Int {
        switch kind {
        case .invalid, .conflict: 400
        case .unauthenticated: 401
        case .forbidden: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .tooLarge: 413
        case .unsupportedMedia: 415
        case .misdirected: 421
        case .limited: 429
        case .internal: 500
        case .unsupported: 501
        case .upstream: 502
        case .unavailable: 503
        case .upstreamTimeout: 504
        case .storageFull: 507
        }
    }
}
