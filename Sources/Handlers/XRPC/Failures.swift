// The error catalogue: what each domain error is called on the wire. Every switch is exhaustive, so a new case in a
// domain does not compile until it is named here.

internal import ATProto
internal import Accounts
public import Base

/// A domain error with a name in XRPC. Internal, so that another surface can name the same error its own way.
protocol XRPCReportable: Error {
    var failure: Failure { get }
}

extension Failure {
    /// The status that XRPC gives each kind. The lexicons' own errors (a record that is not there, a swap that lost)
    /// are all 400: 404 and 409 would read as the server's, not the method's.
    public var xrpcStatus: Int {
        switch kind {
        case .invalid, .conflict, .notFound, .methodNotAllowed: 400
        case .unauthenticated: 401
        case .forbidden: 403
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

    static func invalidRequest(_ message: String) -> Failure { Failure(.invalid, "InvalidRequest", message) }
    static func invalidToken(_ message: String) -> Failure { Failure(.invalid, "InvalidToken", message) }

    static let internalError = Failure(.internal, "InternalServerError", "Internal Server Error")
    static let authMissing = Failure(.unauthenticated, "AuthMissing", "Authentication Required")
    static let expiredToken = Failure(.invalid, "ExpiredToken", "Token has expired")
    static let badScope = invalidToken("Bad token scope")
    static let notVerified = invalidToken("Token could not be verified")
    static let accountNotFound = Failure(.forbidden, "AccountNotFound", "Account not found")
    static let accountTakedown = Failure(.unauthenticated, "AccountTakedown", "Account has been taken down")
    static let accountDeactivated = Failure(.unauthenticated, "AccountDeactivated", "Account is deactivated")
    static let notImplemented = Failure(.unsupported, "MethodNotImplemented", "Method Not Implemented")
}

// MARK: Domains

extension SessionTokenError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .invalid: .notVerified
        case .wrongScope: .badScope
        case .expired: .expiredToken
        }
    }
}

extension SessionError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .wrongCredentials:
            Failure(.unauthenticated, "AuthenticationRequired", "Invalid identifier or password")
        case .passwordTooLong:
            Failure(
                .unauthenticated, "AuthenticationRequired", "Password too long. Consider resetting your password.")
        case .takenDown: .accountTakedown
        case .revoked: Failure(.invalid, "ExpiredToken", "Token has been revoked")
        }
    }
}

extension AppPasswordError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .nameTaken: .invalidRequest("There is an app password with this name already")
        case .invalidName: .invalidRequest("A name has 1 to \(AppPasswordStore.nameSizeMax) bytes")
        case .tooMany: .invalidRequest("Too many app passwords. Max: \(AppPasswordStore.countMax)")
        }
    }
}

extension AccountError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .handleTaken(let handle): Failure(.conflict, "HandleNotAvailable", "Handle already taken: \(handle)")
        case .emailTaken(let email): .invalidRequest("Email already taken: \(email)")
        case .exists(let did): .invalidRequest("Account already exists: \(did)")
        case .notFound: .accountNotFound
        case .invalidEmail: Failure(.invalid, "InvalidEmail", "This is not a valid email address")
        case .passwordTooLong:
            Failure(.invalid, "InvalidPassword", "Password too long. Max: \(AccountStore.passwordSizeMax) bytes")
        case .passwordTooShort:
            Failure(.invalid, "InvalidPassword", "Password too short. Min: \(AccountStore.passwordSizeMin) bytes")
        case .passwordHasNUL: Failure(.invalid, "InvalidPassword", "Password must not contain NUL")
        }
    }
}

extension InviteError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .notAvailable: Failure(.invalid, "InvalidInviteCode", "Provided invite code not available")
        }
    }
}

extension PreferenceError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .wrongNamespace: .invalidRequest("Some preferences are not in the app.bsky namespace")
        case .notAllowed(let type): .invalidRequest("Do not have authorization to set preferences: \(type)")
        case .tooMany: .invalidRequest("Too many preferences. Max: \(PreferenceStore.countMax)")
        }
    }
}

extension JSONError: XRPCReportable {
    var failure: Failure {
        Failure(.invalid, isOfDataModel ? "InvalidRecord" : "InvalidRequest", description)
    }
}

extension LimitReached: XRPCReportable {
    var failure: Failure { Failure(.limited, "RateLimitExceeded", "Rate Limit Exceeded") }
}
