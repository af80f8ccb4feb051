// The error catalogue: what each domain error is called on the wire. Every switch is exhaustive, so a new case in a
// domain does not compile until it is named here.

internal import ATProto
internal import Accounts
public import Base
internal import Hosting
internal import Identity
internal import Moderation
internal import Web

/// A domain error with a name in XRPC. Internal, so that another surface can name the same error its own way.
protocol XRPCReportable: Error {
    var failure: Failure { get }
}

extension Failure {
    /// The status that XRPC gives each kind: HTTP's, but that the lexicons' own errors (a record that is not there, a
    /// swap that lost) are all 400: 404 and 409 would read as the server's, not the method's.
    public var xrpcStatus: Int {
        switch kind {
        case .conflict, .notFound, .methodNotAllowed: Kind.invalid.status
        default: kind.status
        }
    }

    static func invalidRequest(_ message: String) -> Failure { Failure(.invalid, "InvalidRequest", message) }
    static func invalidToken(_ message: String) -> Failure { Failure(.invalid, "InvalidToken", message) }

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
        case .authFactorRequired:
            Failure(
                .unauthenticated, "AuthFactorTokenRequired", "A sign in code has been sent to your email address")
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

extension AccountTokenError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .invalid: .invalidToken("Token is invalid")
        case .expired: Failure(.invalid, "ExpiredToken", "Token is expired")
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

extension HandleError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .disallowed: Failure(.invalid, "InvalidHandle", "Handle TLD is invalid or disallowed")
        case .tooShort: Failure(.invalid, "InvalidHandle", "Handle too short")
        case .tooLong: Failure(.invalid, "InvalidHandle", "Handle too long")
        case .hasDots: Failure(.invalid, "InvalidHandle", "Invalid characters in handle")
        case .reservedWord: Failure(.conflict, "HandleNotAvailable", "Reserved handle")
        case .foreign: Failure(.invalid, "UnsupportedDomain", "Not a supported handle domain")
        }
    }
}

extension HostingError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .emailRequired: .invalidRequest("Email is required")
        case .passwordRequired: .invalidRequest("Password is required")
        case .inviteRequired: Failure(.invalid, "InvalidInviteCode", "No invite code provided")
        case .unsupportedDomain: Failure(.invalid, "UnsupportedDomain", "Not a supported handle domain")
        case .unproved(let did):
            Failure(.unauthenticated, "AuthenticationRequired", "Missing auth to create account with did: \(did)")
        case .unknownKey: .invalidRequest("This server has not reserved that signing key for this account")
        case .unresolvable(let did): Failure(.invalid, "UnresolvableDid", "Could not resolve DID document of \(did)")
        case .handleElsewhere: .invalidRequest("External handle did not resolve to DID")
        case .notPointedHere(.service):
            Failure(
                .invalid, "IncompatibleDidDoc",
                "DID document atproto_pds service endpoint does not match PDS public url")
        case .notPointedHere(.signingKey):
            Failure(
                .invalid, "IncompatibleDidDoc",
                "DID document verification method does not match expected signing key")
        case .notPointedHere(.rotationKey):
            Failure(.invalid, "IncompatibleDidDoc", "Server rotation key not included in PLC DID data")
        case .noEmail: .invalidRequest("account does not have an email address")
        case .otherEmail: Failure(.invalid, "InvalidEmail", "invalid email")
        case .tokenRequired: Failure(.invalid, "TokenRequired", "confirmation token required")
        case .emailNotConfirmed: .invalidRequest("Confirm the email address before you turn on codes at sign-in")
        case .unfitOperation(let fault): .invalidRequest(fault.words)
        }
    }
}

extension HostingError.OperationFault {
    /// The reference's words (specs/pds.md §7 row 90).
    fileprivate var words: String {
        switch self {
        case .notSigned: "This is no signed PLC operation"
        case .rotationKey: "Rotation keys do not include server's rotation key"
        case .serviceType: "Incorrect type on atproto_pds service"
        case .serviceEndpoint: "Incorrect endpoint on atproto_pds service"
        case .signingKey: "Incorrect signing key"
        case .handle: "Incorrect handle in alsoKnownAs"
        case .refused: "The PLC directory refused the operation"
        }
    }
}

extension ModerationError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .reportNotFound(let id): .notFound("There is no report \(id)")
        case .corrupt: .internalError
        }
    }
}

extension IdentityError: XRPCReportable {
    var failure: Failure {
        switch self {
        case .unsupportedDID(let did): Failure(.invalid, "InvalidDid", "Unsupported DID: \(did)")
        case .notFound(let did): Failure(.notFound, "DidNotFound", "Could not find \(did)")
        case .tombstoned: .invalidRequest("Did is tombstoned")
        case .handleNotFound: Failure(.notFound, "HandleNotFound", "Unable to resolve handle")
        case .unreachable: .upstream("Could not reach the identity's host or directory")
        case .invalidDocument(let fault):
            Failure(.invalid, "IncompatibleDidDoc", "The DID document \(fault.words)")
        case .directoryRefused:
            .upstream("The PLC directory refused the operation")
        }
    }
}
