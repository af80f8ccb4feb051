internal import ATProto
internal import Accounts
internal import Base
internal import Crypto
internal import Hosting
internal import Web

extension XRPCResponder {
    static let sessions: [XRPCRoute] = [
        XRPCRoute(CreateSession.self), XRPCRoute(RefreshSession.self), XRPCRoute(GetSession.self),
        XRPCRoute(DeleteSession.self),
    ]
}

/// `com.atproto.server.createSession`: signs in with a handle, DID or e-mail address and a password.
struct CreateSession: Method {
    static let nsid: Bytes = "com.atproto.server.createSession"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.anyone
    static let scope = OAuthRule.none

    struct Input: XRPCInput {
        let identifier: Bytes
        let password: Bytes
        let allowTakendown: Bool
        let authFactorToken: Bytes?

        init(_ fields: Fields) throws(Failure) {
            identifier = try fields.text("identifier", sizeMax: DID.sizeMax)
            password = try fields.anyText("password")
            allowTakendown = try fields.bool("allowTakendown", default: false)
            authFactorToken = try fields.optionalCode("authFactorToken")
        }
    }

    static func charges(_ call: Call<Self>) -> [Charge] {
        // An identifier can be long; its digest keys the budget just as well.
        let identifier = call.input.identifier
        let key = ((try? call.app.sessions.attemptKey(identifier)) ?? identifier) + "\n" + call.request.peer
        return [Charge(RateLimit.createSession, key: Bytes(Hex.encode(SHA256.hash(key).bytes.prefix(16))))]
    }

    static func run(_ call: Call<Self>) throws -> SessionOutput {
        let (app, input) = (call.app, call.input)
        let session = try app.sessions.create(
            identifier: input.identifier, password: input.password, allowTakenDown: input.allowTakendown
        ) { account in
            if input.authFactorToken == nil {
                _ = try app.limits.charge(
                    [Charge(RateLimit.signInCode, key: account.did.bytes)], now: app.clock.now())
            }
            try app.mail.signIn(account, code: input.authFactorToken)
        }
        return SessionOutput(
            account: session.account, scope: session.scope, tokens: session,
            document: call.app.documentIfKnown(session.account))
    }
}

/// `com.atproto.server.refreshSession`: trades a refresh token for the next one.
struct RefreshSession: Method {
    static let nsid: Bytes = "com.atproto.server.refreshSession"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.refreshToken()
    static let scope = OAuthRule.none

    static func run(_ call: Call<Self>) throws -> SessionOutput {
        let session = try call.app.sessions.refresh(id: call.caller.id, of: call.caller.did)
        return SessionOutput(
            account: session.account, scope: session.scope, tokens: session,
            document: call.app.documentIfKnown(session.account))
    }
}

/// `com.atproto.server.getSession`: who is signed in.
struct GetSession: Method {
    static let nsid: Bytes = "com.atproto.server.getSession"
    static let kind = MethodKind.query
    static let access = XRPCAccess.account(.any, even: .deactivated)
    static let scope = OAuthRule.any

    static func run(_ call: Call<Self>) throws -> SessionOutput {
        SessionOutput(
            account: call.caller.account, scope: call.caller.scope, tokens: nil,
            document: call.app.documentIfKnown(call.caller.account))
    }
}

/// `com.atproto.server.deleteSession`: signs out.
struct DeleteSession: Method {
    static let nsid: Bytes = "com.atproto.server.deleteSession"
    static let kind = MethodKind.procedure
    static let access = XRPCAccess.refreshToken(allowExpired: true)
    static let scope = OAuthRule.none

    static func run(_ call: Call<Self>) throws -> NoOutput {
        try call.app.sessions.revoke(id: call.caller.id)
        return NoOutput()
    }
}

/// What the three session methods answer; `tokens` only where new ones were made.
struct SessionOutput: XRPCOutput {
    let account: Account
    let scope: SessionScope
    let tokens: Session?
    /// The DID document as JSON, when it is at hand.
    let document: Bytes?

    func write(to writer: inout JSONWriter) {
        writer.beginObject()
        if let tokens {
            writer.field("accessJwt", tokens.accessToken)
            writer.field("refreshJwt", tokens.refreshToken)
        }
        writer.field("did", account.did.bytes)
        if let document {
            writer.field("didDoc", raw: document)
        }
        writer.field("handle", account.shownHandle.bytes)
        // An app has no need of the address; the reference tells it to app passwords as well.
        if scope == .full, let email = account.email {
            writer.field("email", email)
            writer.field("emailConfirmed", account.emailConfirmedAt != nil)
            writer.field("emailAuthFactor", account.wantsEmailCode)
        }
        writer.field("active", account.state.isActive)
        if !account.state.isActive {
            writer.field("status", Bytes(account.state.rawValue))
        }
        writer.endObject()
    }
}
