public import ATProto
public import Base
internal import Crypto

/// What a session may do: the `scope` claim of password sessions.
public enum SessionScope: Sendable, Equatable, CaseIterable {
    /// Signed in with the account's password.
    case full
    case appPassword, privilegedAppPassword
    /// A taken down account that is let in to leave.
    case takenDown

    /// The claim's words (specs/pds.md §2.1).
    public var claim: Bytes {
        switch self {
        case .full: "com.atproto.access"
        case .appPassword: "com.atproto.appPass"
        case .privilegedAppPassword: "com.atproto.appPassPrivileged"
        case .takenDown: "com.atproto.takendown"
        }
    }

    init?(claim: Bytes) {
        guard let scope = Self.allCases.first(where: { $0.claim == claim }) else { return nil }
        self = scope
    }
}

/// Why a session token is not taken.
public enum SessionTokenError: Error, Equatable, Sendable {
    /// No token of ours: its form, key, algorithm, type or audience.
    case invalid
    /// One of ours for something else, such as a refresh token where an access token belongs.
    case wrongScope
    case expired
}

/// Makes and reads the two tokens of a password session: HS256 under the server's own secret.
public struct SessionTokens: Sendable {
    /// 120 minutes.
    public static let accessSeconds: Int64 = 7_200
    /// 90 days.
    public static let refreshSeconds: Int64 = 7_776_000
    static let refreshScope: Bytes = "com.atproto.refresh"

    private let key: Secret
    private let audience: Bytes

    /// `key` signs; `service` is the server's DID, the `aud` of every token.
    public init(key: Secret, service: DID) {
        self.key = key
        audience = service.bytes
    }

    public func access(_ did: DID, scope: SessionScope, now: Timestamp) -> Bytes {
        JWT.sign(
            header: ["typ": "at+jwt"],
            claims: [
                "scope": .text(scope.claim), "sub": .text(did.bytes), "aud": .text(audience),
                "iat": .integer(now.seconds), "exp": .integer(now.seconds + Self.accessSeconds),
            ], hs256: key)
    }

    func refresh(_ did: DID, id: Bytes, expiresAt: Timestamp, now: Timestamp) -> Bytes {
        JWT.sign(
            header: ["typ": "refresh+jwt"],
            claims: [
                "scope": .text(Self.refreshScope), "sub": .text(did.bytes), "aud": .text(audience), "jti": .text(id),
                "iat": .integer(now.seconds), "exp": .integer(expiresAt.seconds),
            ], hs256: key)
    }

    /// Who an access token is for, and with what scope.
    public func readAccess(
        _ token: Bytes, now: Timestamp
    ) throws(SessionTokenError) -> (did: DID, scope: SessionScope) {
        let (jwt, did, scope) = try read(token)
        guard let scope = SessionScope(claim: scope) else { throw .wrongScope }
        guard jwt.header.text("typ")?.lowercasedASCII == "at+jwt" else { throw .invalid }
        try checkExpiry(jwt, now: now)
        return (did, scope)
    }

    /// Whose refresh token this is, and its id. An expired one is taken only with `allowExpired`, to be deleted.
    public func readRefresh(
        _ token: Bytes, now: Timestamp, allowExpired: Bool = false
    ) throws(SessionTokenError) -> (did: DID, id: Bytes) {
        let (jwt, did, scope) = try read(token)
        guard scope == Self.refreshScope else { throw .wrongScope }
        guard jwt.header.text("typ")?.lowercasedASCII == "refresh+jwt", let id = jwt.claims.text("jti")
        else { throw .invalid }
        if !allowExpired { try checkExpiry(jwt, now: now) }
        return (did, id)
    }

    /// What both kinds have in common. Tokens with `lxm` are service tokens and with `cnf` are bound to a DPoP key:
    /// neither is a session token, whatever signed it.
    private func read(_ token: Bytes) throws(SessionTokenError) -> (JWT, DID, scope: Bytes) {
        do throws(JWTError) {
            let jwt = try JWT(parsing: token)
            try jwt.verify(hs256: key)
            guard jwt.claims.text("aud") == audience, jwt.claims["lxm"] == nil, jwt.claims["cnf"] == nil,
                let did = jwt.claims.text("sub").flatMap({ DID($0) }), let scope = jwt.claims.text("scope")
            else { throw JWTError.malformed }
            return (jwt, did, scope)
        } catch {
            throw .invalid
        }
    }

    private func checkExpiry(_ jwt: JWT, now: Timestamp) throws(SessionTokenError) {
        guard let expiry = jwt.claims.integer("exp") else { throw .invalid }
        if expiry <= now.seconds { throw .expired }
    }
}
