public import ATProto
public import Accounts
public import Base
internal import Crypto
internal import Moderation
internal import Web

/// A signed-in account.
public struct AccountCaller: Sendable {
    public let account: Account
    public let scope: SessionScope

    public var did: DID { account.did }

    /// Leave to write to `repo`, which must be the caller's own: what every method that writes asks first.
    public func grant(_ repo: ATIdentifier) throws -> WriteGrant {
        try WriteGrant.own(repo, of: account.did) { account.handle }
    }
}

/// The bearer of a session token of an account that was not looked up: whether it is there and active is said by the
/// transaction that writes to its repository, which has to look anyway.
///
/// A call that fails for any reason fails for the account's own reason first (`XRPCAccess.settle`).
public struct WritingCaller: Sendable {
    public let did: DID
    public let scope: SessionScope

    /// Leave to write to `repo`, which must be the caller's own.
    func grant(_ repo: ATIdentifier, _ app: XRPCApp) throws -> WriteGrant {
        try WriteGrant.own(repo, of: did) { try app.accounts.find(did)?.handle }
    }
}

/// Proof that the caller may write to the repository of `did`. Only a caller makes one.
public struct WriteGrant: Sendable {
    public let did: DID

    fileprivate static func own(
        _ repo: ATIdentifier, of did: DID, handle: () throws -> Handle?
    ) throws -> WriteGrant {
        let isOwn =
            switch repo {
            case .did(let named): named == did
            case .handle(let named): try handle() == named
            }
        guard isOwn else {
            throw Failure(.unauthenticated, "AuthenticationRequired", "You can only write to your own repository")
        }
        return WriteGrant(did: did)
    }

    private init(did: DID) { self.did = did }
}

/// Who reads: owners and administrators see what others don't.
public enum Viewer: Sendable {
    case anonymous, account(DID), admin

    public func mayRead(inactive did: DID) -> Bool {
        switch self {
        case .anonymous: false
        case .account(let own): own == did
        case .admin: true
        }
    }
}

/// The bearer of a refresh token.
public struct RefreshCaller: Sendable {
    public let did: DID
    public let id: Bytes
}

/// The operator.
public struct AdminCaller: Sendable {
    /// Who the log says it was.
    var actor: Actor { .admin }
}

/// The operator, or the moderation service that the operator trusts.
public struct ModeratorCaller: Sendable {
    /// Who the log says it was.
    let actor: Actor
}

/// Which password sessions a method takes.
public enum SessionKind: Sendable {
    /// Signed in with the account's own password.
    case full
    /// That, or a privileged app password.
    case privileged
    /// That, or any app password.
    case any

    func includes(_ scope: SessionScope) -> Bool {
        switch scope {
        case .full: true
        case .privilegedAppPassword: self != .full
        case .appPassword: self == .any
        case .takenDown: false
        }
    }
}

/// Accounts that are not active and may call all the same.
public struct InactiveAccounts: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    public static let deactivated = InactiveAccounts(rawValue: 1)
    /// With a `com.atproto.takendown` session only.
    public static let takenDown = InactiveAccounts(rawValue: 2)
}

extension XRPCAccess where Caller == AccountCaller {
    /// A signed-in account. Only active ones, unless `even` says otherwise.
    public static func account(_ kind: SessionKind, even inactive: InactiveAccounts = []) -> XRPCAccess {
        XRPCAccess(rule: "account(\(kind)\(inactive.words))") { request, app in
            let (did, scope) = try Credentials.session(request, app)
            guard kind.includes(scope) || (scope == .takenDown && inactive.contains(.takenDown)) else {
                throw Failure.badScope
            }
            let account = try Credentials.account(did, even: inactive, app)
            // A session from before the takedown ends with it; signing in anew says that one knows.
            if account.state == .takenDown || account.state == .suspended, scope != .takenDown {
                throw Failure.accountTakedown
            }
            return AccountCaller(account: account, scope: scope)
        }
    }
}

extension XRPCAccess where Caller == WritingCaller {
    /// A signed-in active account that writes to its repository. For methods whose every effect is in a transaction
    /// that throws when the repository is not active.
    static func writer(_ kind: SessionKind) -> XRPCAccess {
        XRPCAccess(
            rule: "account(\(kind))",
            check: { request, app in
                let (did, scope) = try Credentials.session(request, app)
                guard kind.includes(scope) else { throw Failure.badScope }
                return WritingCaller(did: did, scope: scope)
            }, settle: { caller, app in _ = try Credentials.account(caller.did, even: [], app) })
    }
}

extension XRPCAccess where Caller == Viewer {
    /// Anyone; what they see depends on who they are.
    public static var viewer: XRPCAccess {
        XRPCAccess(rule: "viewer") { request, app in
            guard let header = request.headers["authorization"] else { return .anonymous }
            if Credentials.scheme(header) == "basic" {
                try Credentials.checkAdmin(header, app)
                return .admin
            }
            let (did, scope) = try Credentials.session(request, app)
            // A taken down account may take its data away.
            guard SessionKind.any.includes(scope) || scope == .takenDown else { throw Failure.badScope }
            return .account(did)
        }
    }
}

extension XRPCAccess where Caller == RefreshCaller {
    /// The bearer of a refresh token. Signing out takes an expired one too.
    static func refreshToken(allowExpired: Bool = false) -> XRPCAccess {
        XRPCAccess(rule: allowExpired ? "refresh token, even expired" : "refresh token") { request, app in
            let token = try Credentials.bearer(request)
            let (did, id) = try app.sessions.tokens.readRefresh(
                token, now: app.clock.now(), allowExpired: allowExpired)
            return RefreshCaller(did: did, id: id)
        }
    }
}

extension XRPCAccess where Caller == AdminCaller {
    /// The operator, by the password of the settings.
    public static var admin: XRPCAccess {
        XRPCAccess(rule: "admin") { request, app in
            guard let header = request.headers["authorization"] else { throw Failure.authMissing }
            try Credentials.checkAdmin(header, app)
            return AdminCaller()
        }
    }
}

extension XRPCAccess where Caller == ModeratorCaller {
    /// The operator, by the password of the settings, or the moderation service, by a service token for `method`.
    static func moderator(_ method: Bytes) -> XRPCAccess {
        XRPCAccess(rule: "moderator") { request, app in
            guard let header = request.headers["authorization"] else { throw Failure.authMissing }
            if Credentials.scheme(header) == "basic" {
                try Credentials.checkAdmin(header, app)
                return ModeratorCaller(actor: .admin)
            }
            let token = try Credentials.bearer(request)
            guard ServiceToken.isSignedByKey(token) else { throw Failure.notVerified }
            let did = try ServiceToken.check(token, for: method, from: .moderationService, app)
            return ModeratorCaller(actor: .service(did.bytes))
        }
    }
}

extension InactiveAccounts {
    fileprivate var words: String {
        (contains(.deactivated) ? ", deactivated" : "") + (contains(.takenDown) ? ", taken down" : "")
    }
}

/// What an `Authorization` header says.
enum Credentials {
    /// The scheme in lower case.
    static func scheme(_ header: Bytes) -> Bytes {
        header.upTo(header.position(of: 0x20) ?? header.count).lowercasedASCII
    }

    /// The token of `Authorization: Bearer <token>` (RFC 6750 §2.1).
    static func bearer(_ request: Request) throws(Failure) -> Bytes {
        guard let header = request.headers["authorization"] else { throw .authMissing }
        let scheme = scheme(header)
        guard scheme == "bearer" else {
            let isKnown = scheme == "basic" || scheme == "dpop"
            throw .invalidToken(
                isKnown ? "Unsupported authorization type: \(scheme)" : "Malformed authorization header")
        }
        let token = header.from(scheme.count + 1)
        guard !token.isEmpty, !token.contains(0x20) else { throw .invalidToken("Malformed authorization header") }
        return token
    }

    /// Whose access token the request brings.
    static func session(_ request: Request, _ app: XRPCApp) throws -> (did: DID, scope: SessionScope) {
        try app.sessions.tokens.readAccess(try bearer(request), now: app.clock.now())
    }

    /// Throws unless `header` is `Basic` with `admin` and the password of the settings (RFC 7617).
    static func checkAdmin(_ header: Bytes, _ app: XRPCApp) throws(Failure) {
        let refused = Failure(.unauthenticated, "AuthenticationRequired", "Bad admin credentials")
        guard scheme(header) == "basic", let pair = RadixEncoding.base64Padded.decode(header.from(6)),
            let password = app.settings.adminPassword
        else { throw refused }
        // Digests have one length, so that the comparison does not tell the password's.
        let given = SHA256.hash(pair).bytes
        let wanted = password.withBytes { SHA256.hash(Array("admin:".utf8) + $0).bytes }
        guard constantTimeEqual(Bytes(given), Bytes(wanted)) else { throw refused }
    }

    /// The account as it is now. Throws when it is gone or its state does not allow the call.
    static func account(_ did: DID, even inactive: InactiveAccounts, _ app: XRPCApp) throws -> Account {
        guard let account = try app.accounts.find(did) else { throw Failure.accountNotFound }
        switch account.state {
        case .active: return account
        case .deactivated where inactive.contains(.deactivated): return account
        case .deactivated: throw Failure.accountDeactivated
        case .takenDown where inactive.contains(.takenDown), .suspended where inactive.contains(.takenDown):
            return account
        case .takenDown, .suspended: throw Failure.accountTakedown
        }
    }
}
