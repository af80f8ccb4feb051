import ATProto
import Base
import Crypto
import Testing

@testable import Accounts

/// What a session token must be to be taken: every row but the first two changes one thing of a good token.
@Suite struct TokenTests {
    static let key = Secret([UInt8](repeating: 7, count: 32))
    static let did = DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")!
    static let service = DID("did:web:home.test")!
    static let now = Timestamp(seconds: 1_000_000)
    static let tokens = SessionTokens(key: key, service: service)

    static func claims(_ changes: (inout JOSEObject) -> Void = { _ in }) -> JOSEObject {
        var claims: JOSEObject = [
            "scope": "com.atproto.access", "sub": .text(did.bytes), "aud": .text(service.bytes),
            "iat": .integer(now.seconds), "exp": .integer(now.seconds + 60),
        ]
        changes(&claims)
        return claims
    }

    static func token(
        typ: JOSEValue? = "at+jwt", key: Secret = key, _ changes: (inout JOSEObject) -> Void = { _ in }
    ) -> Bytes {
        var header: JOSEObject = [:]
        header["typ"] = typ
        return JWT.sign(header: header, claims: claims(changes), hs256: key)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let token: Bytes
        /// nil: taken.
        let error: SessionTokenError?
        var testDescription: String { name }

        init(_ name: String, _ token: Bytes, _ error: SessionTokenError? = nil) {
            self.name = name
            self.token = token
            self.error = error
        }
    }

    static let access: [Row] = [
        Row("good", token()),
        Row("app password", token { $0["scope"] = "com.atproto.appPass" }),
        Row("typ in capitals, as RFC 7515 allows", token(typ: "AT+JWT")),
        Row("empty", Bytes(), .invalid),
        Row("one part", "abc", .invalid),
        Row("four parts", token() + ".x", .invalid),
        Row("another key", token(key: Secret([UInt8](repeating: 8, count: 32))), .invalid),
        Row("signature cut", token().upTo(token().count - 1), .invalid),
        Row("no signature", token().upTo(token().lastIndex(of: 0x2E)! + 1), .invalid),
        Row("alg none", unsigned("none"), .invalid),
        Row("alg HS512 over the same key", unsigned("HS512", signature: token().split(on: 0x2E)[2]), .invalid),
        Row("alg ES256 by a stranger's key", foreign(), .invalid),
        Row("no typ", token(typ: nil), .invalid),
        Row("typ JWT", token(typ: "JWT"), .invalid),
        Row("typ of a refresh token", token(typ: "refresh+jwt"), .invalid),
        Row("scope of a refresh token", token { $0["scope"] = "com.atproto.refresh" }, .wrongScope),
        Row("unknown scope", token { $0["scope"] = "com.atproto.everything" }, .wrongScope),
        Row("no scope", token { $0["scope"] = nil }, .invalid),
        Row("another audience", token { $0["aud"] = "did:web:other.test" }, .invalid),
        Row("audience with a service", token { $0["aud"] = "did:web:home.test#atproto_pds" }, .invalid),
        Row("a list of audiences", token { $0["aud"] = .texts(["did:web:home.test"]) }, .invalid),
        Row("no audience", token { $0["aud"] = nil }, .invalid),
        Row("no subject", token { $0["sub"] = nil }, .invalid),
        Row("subject is no DID", token { $0["sub"] = "alice.home.test" }, .invalid),
        Row("expires now", token { $0["exp"] = .integer(now.seconds) }, .expired),
        Row("expired long ago", token { $0["exp"] = .integer(1) }, .expired),
        Row("expiry is text", token { $0["exp"] = "2000000" }, .invalid),
        Row("no expiry", token { $0["exp"] = nil }, .invalid),
        Row("bound to a DPoP key", token { $0["cnf"] = .json("{\"jkt\":\"x\"}") }, .invalid),
        Row("a service token", token { $0["lxm"] = "com.atproto.repo.uploadBlob" }, .invalid),
    ]

    @Test(arguments: access) func accessToken(_ row: Row) throws {
        if let error = row.error {
            #expect(throws: error) { try Self.tokens.readAccess(row.token, now: Self.now) }
        } else {
            #expect(try Self.tokens.readAccess(row.token, now: Self.now).did == Self.did)
        }
    }

    @Test(arguments: SessionScope.allCases) func scopesComeBack(_ scope: SessionScope) throws {
        let token = Self.tokens.access(Self.did, scope: scope, now: Self.now)
        let read = try Self.tokens.readAccess(token, now: Self.now.adding(seconds: SessionTokens.accessSeconds - 1))
        #expect(read.scope == scope && read.did == Self.did)
        #expect(throws: SessionTokenError.expired) {
            try Self.tokens.readAccess(token, now: Self.now.adding(seconds: SessionTokens.accessSeconds))
        }
        #expect(throws: SessionTokenError.wrongScope) { try Self.tokens.readRefresh(token, now: Self.now) }
    }

    static let refresh: [Row] = [
        Row("good", refreshToken()),
        Row("an access token", token(), .wrongScope),
        Row("typ of an access token", refreshToken(typ: "at+jwt"), .invalid),
        Row("no id", refreshToken { $0["jti"] = nil }, .invalid),
        Row("id is a number", refreshToken { $0["jti"] = .integer(1) }, .invalid),
        Row("expired", refreshToken { $0["exp"] = .integer(1) }, .expired),
        Row("another audience", refreshToken { $0["aud"] = "did:web:other.test" }, .invalid),
    ]

    static func refreshToken(
        typ: JOSEValue = "refresh+jwt", _ changes: (inout JOSEObject) -> Void = { _ in }
    ) -> Bytes {
        token(typ: typ) { claims in
            claims["scope"] = "com.atproto.refresh"
            claims["jti"] = "id"
            changes(&claims)
        }
    }

    @Test(arguments: refresh) func refreshToken(_ row: Row) throws {
        if let error = row.error {
            #expect(throws: error) { try Self.tokens.readRefresh(row.token, now: Self.now) }
        } else {
            #expect(try Self.tokens.readRefresh(row.token, now: Self.now).id == "id")
        }
    }

    @Test func anExpiredRefreshTokenIsTakenToSignOut() throws {
        let token = Self.refreshToken { $0["exp"] = .integer(1) }
        #expect(try Self.tokens.readRefresh(token, now: Self.now, allowExpired: true).id == "id")
        let forged = Self.refreshToken { $0["aud"] = "did:web:other.test" }
        #expect(throws: SessionTokenError.invalid) {
            try Self.tokens.readRefresh(forged, now: Self.now, allowExpired: true)
        }
    }

    static func unsigned(_ algorithm: String, signature: Bytes = Bytes()) -> Bytes {
        let header = RadixEncoding.base64URL.encode(Array("{\"typ\":\"at+jwt\",\"alg\":\"\(algorithm)\"}".utf8))
        return Bytes(header) + "." + Bytes(RadixEncoding.base64URL.encode(claims().json)) + "." + signature
    }

    static func foreign() -> Bytes {
        let secret = Secret([UInt8](repeating: 1, count: 32))
        guard let key = try? SigningKey(algorithm: .p256, secret: secret),
            let token = try? JWT.sign(header: ["typ": "at+jwt"], claims: claims(), key: key)
        else { return Bytes() }
        return token
    }
}
