public import ATProto
internal import Accounts
internal import Authorization
public import Base
internal import Crypto
internal import Identity
internal import Web

/// An identity that proved itself with a token that its signing key signed, for one method of this server.
public struct ServiceCaller: Sendable {
    public let did: DID
}

extension XRPCAccess where Caller == ServiceCaller? {
    /// Anyone, or an identity by a service token for `method`. Any other kind of credentials is refused.
    static func serviceIfGiven(_ method: Bytes) -> XRPCAccess {
        XRPCAccess(rule: "service token, if given") { request, app in
            guard request.headers["authorization"] != nil else { return nil }
            return ServiceCaller(did: try ServiceToken.check(try Credentials.bearer(request), for: method, app))
        }
    }
}

extension XRPCAccess where Caller == AccountCaller {
    /// As `account`, or the account itself by a service token for `method`: how services upload on its behalf.
    public static func accountOrService(
        _ kind: SessionKind, even inactive: InactiveAccounts = [], method: Bytes
    ) -> XRPCAccess {
        let session = XRPCAccess.account(kind, even: inactive)
        return XRPCAccess(rule: session.rule + " or service token") { request, app in
            let token = try Credentials.bearer(request)
            guard ServiceToken.isSignedByKey(token) else { return try session.check(request, app) }
            let did = try ServiceToken.check(token, for: method, app)
            let account = try Credentials.account(did, even: inactive, app)
            return AccountCaller(account: account, scope: .privilegedAppPassword)
        }
    }
}

/// Tokens between services: signed by the repository key of the account that they speak for (specs/pds.md §2.2).
enum ServiceToken {
    /// Seconds that a token holds when nobody says otherwise, and at most when it is for no method in particular.
    static let seconds = ServiceJWT.seconds
    static let secondsMax: Int64 = 3_600
    /// How far another server's clock may be ahead.
    static let skewSeconds: Int64 = 60

    /// Whether a token is of this kind, by its algorithm. Proves nothing.
    static func isSignedByKey(_ token: Bytes) -> Bool {
        guard let jwt = try? JWT(parsing: token), let algorithm = jwt.header.text("alg") else { return false }
        return KeyAlgorithm.allCases.contains { $0.jwsName == algorithm }
    }

    static func make(
        _ did: DID, audience: Bytes, method: Bytes?, expiresAt: Int64, key: SigningKey, now: Timestamp,
        entropy: Entropy
    ) throws -> Bytes {
        try ServiceJWT.make(
            did, audience: audience, method: method, expiresAt: expiresAt, key: key, now: now, entropy: entropy)
    }

    /// Which key of an issuer signs, by the fragment of `iss`.
    enum Issuer: Sendable {
        /// `did` or `did#atproto`: an account.
        case account
        /// Those, or `did#atproto_labeler`, which signs with the labels' key.
        case moderationService
    }

    /// Whose token this is, once everything about it holds.
    static func check(
        _ token: Bytes, for method: Bytes, from kind: Issuer = .account, _ app: XRPCApp
    ) throws -> DID {
        guard let jwt = try? JWT(parsing: token) else { throw refused("BadJwt", "poorly formatted jwt") }
        let type = jwt.header.text("typ")?.lowercasedASCII
        if type == "at+jwt" || type == "refresh+jwt" || type == "dpop+jwt" {
            throw refused("BadJwtType", "Invalid jwt type \"\(type ?? Bytes())\"")
        }
        guard let expiry = jwt.claims.integer("exp"), let issuer = jwt.claims.text("iss"),
            let audience = jwt.claims.text("aud")
        else { throw refused("BadJwt", "poorly formatted jwt") }
        let now = app.clock.now().seconds
        guard expiry > now else { throw refused("JwtExpired", "jwt expired") }
        // No server gives out longer ones (specs/pds.md §2.2): this would be one to keep.
        guard expiry <= now + secondsMax + skewSeconds else {
            throw refused("BadJwt", "jwt expiration is more than an hour in the future")
        }
        guard audience == app.settings.serviceDID.bytes || audience == app.settings.service else {
            throw refused("BadJwtAudience", "jwt audience does not match service did")
        }
        guard let lexicon = jwt.claims.text("lxm") else {
            throw refused("BadJwtLexiconMethod", "missing jwt lexicon method (\"lxm\"). must match: \(method)")
        }
        guard lexicon == method else {
            throw refused("BadJwtLexiconMethod", "bad jwt lexicon method (\"lxm\"). must match: \(method)")
        }
        let hash = issuer.position(of: 0x23) ?? issuer.count
        let isLabeler = kind == .moderationService && issuer.from(hash) == "#atproto_labeler"
        guard let did = DID(issuer.upTo(hash)), isLabeler || ["", "#atproto"].contains(issuer.from(hash)) else {
            throw refused("BadJwtIss", "jwt issuer is not an account")
        }
        if kind == .moderationService, did != app.settings.moderationDID {
            throw refused("UntrustedIss", "jwt issuer is not the moderation service")
        }
        try checkSignature(jwt, of: did, isLabeler: isLabeler, app)
        return did
    }

    /// An account of this server is looked up here; any other key may have changed since it was kept, so that a
    /// signature that does not hold is tried once more with a fresh document.
    private static func checkSignature(_ jwt: JWT, of did: DID, isLabeler: Bool, _ app: XRPCApp) throws {
        if !isLabeler, let key = try? app.keys.key(of: did).publicKey, (try? jwt.verify(key)) != nil { return }
        for fresh in [false, true] {
            let document: DIDDocument
            do { document = try app.resolver.document(of: did, fresh: fresh) } catch is IdentityError {
                throw refused("BadJwtIss", "could not resolve the identity of the jwt issuer")
            }
            let key = try? isLabeler ? document.labelSigningKey : document.signingKey
            if let key, (try? jwt.verify(key)) != nil { return }
        }
        throw refused("BadJwtSignature", "jwt signature does not match jwt issuer")
    }

    private static func refused(_ code: String, _ message: String) -> Failure {
        Failure(.unauthenticated, code, message)
    }
}

/// `com.atproto.server.getServiceAuth`: a token for another service, in the account's name.
struct GetServiceAuth: Method {
    static let nsid: Bytes = "com.atproto.server.getServiceAuth"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: [.deactivated, .takenDown])
    static let scope = OAuthRule.rpcAskedFor

    struct Input: XRPCInput {
        let audience: Bytes
        let expiry: Int?
        let method: NSID?

        init(_ fields: Fields) throws(Failure) {
            audience = try fields.text("aud", sizeMax: 2_048)
            let did = audience.upTo(audience.position(of: 0x23) ?? audience.count)
            guard DID(did) != nil, !audience.ends(with: "#") else {
                throw fields.wrong("aud", "must be a valid did, or one with a service")
            }
            expiry = try fields.optionalInteger("exp", in: .min ... .max)
            method = try fields.optional("lxm")
        }
    }

    struct Output: XRPCOutput {
        let token: Bytes

        func write(to writer: inout JSONWriter) {
            writer.beginObject()
            writer.field("token", token)
            writer.endObject()
        }
    }

    /// Methods that only the person may use, never a service in their name.
    private static let protected: Set<Bytes> = [
        UpdateHandle.nsid, ActivateAccount.nsid, CreateAppPassword.nsid, DeactivateAccount.nsid,
        GetAccountInviteCodes.nsid, GetSession.nsid, ListAppPasswords.nsid, RevokeAppPassword.nsid,
        SendEmail.nsid, RequestPlcOperationSignature.nsid, SignPlcOperation.nsid, ConfirmEmail.nsid,
        RequestAccountDelete.nsid, RequestEmailConfirmation.nsid, RequestEmailUpdate.nsid, UpdateEmail.nsid,
    ]
    private static let protectedNames = Set(protected.map(\.lowercasedASCII))

    /// Whatever the case of its letters: a service may not tell them apart.
    static func isProtected(_ method: Bytes) -> Bool { protectedNames.contains(method.lowercasedASCII) }

    /// A whole namespace instead of a list that ages: new chat methods are private as well.
    static func isPrivileged(_ method: Bytes) -> Bool {
        TransitionScope.isChat(method) || beginsAccount(method)
    }

    /// Whether `method` makes an account elsewhere, whatever the case of its letters.
    static func beginsAccount(_ method: Bytes) -> Bool {
        method.lowercasedASCII == CreateAccount.nsid.lowercasedASCII
    }

    static func run(_ call: Call<Self>) throws -> Output {
        let (input, caller, app) = (call.input, call.caller, call.app)
        let method = input.method?.bytes
        let now = app.clock.now()
        if caller.scope == .takenDown, method != CreateAccount.nsid { throw Failure.badScope }
        if let method {
            if isProtected(method) {
                throw Failure.invalidRequest(
                    "cannot request a service auth token for the following protected method: \(method)")
            }
            if caller.scope == .appPassword, isPrivileged(method) {
                throw Failure.invalidRequest(
                    "insufficient access to request a service auth token for the following method: \(method)")
            }
        }
        let expiry = try expiry(input, now: now.seconds)
        let token = try ServiceToken.make(
            caller.did, audience: input.audience, method: method, expiresAt: expiry,
            key: try app.keys.key(of: caller.did), now: now, entropy: app.entropy)
        return Output(token: token)
    }

    private static func expiry(_ input: Input, now: Int64) throws(Failure) -> Int64 {
        guard let asked = input.expiry.map({ Int64($0) }) else { return now + ServiceToken.seconds }
        func bad(_ message: String) -> Failure { Failure(.invalid, "BadExpiration", message) }
        if asked < now { throw bad("expiration is in past") }
        if asked > now + ServiceToken.secondsMax {
            throw bad("cannot request a token with an expiration more than an hour in the future")
        }
        if input.method == nil, asked > now + ServiceToken.seconds {
            throw bad("cannot request a method-less token with an expiration more than a minute in the future")
        }
        return asked
    }
}
