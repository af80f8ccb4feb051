// The error catalogue of the administrator's pages: sentences for the person who reads them.

internal import Accounts
internal import Base
internal import Hosting
internal import Identity
internal import Moderation
internal import Repos
internal import Web

enum AdminFailures {
    static let absent = Failure.notFound("There is nothing here.")

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
            .notFound("There is no such account here any more.")
        case ModerationError.reportNotFound: .notFound("There is no such report.")
        case let error as IdentityError:
            .upstream("The identity's directory or host did not do it: \(error).")
        default: Failure(.internal, Failure.internalError.code, "Something went wrong on this server.")
        }
    }
}
