import ATProto
import Base
import Crypto
import Storage
import TestSupport

@testable import Authorization

/// The stores over a fresh database with two accounts, and the steps of a client that does everything right.
struct GrantWorld {
    let test: TestDatabase
    let requests: GrantRequestStore
    let store: GrantStore
    let tokens: GrantTokens
    let entropy: Entropy

    static let start = Timestamp(seconds: 1_760_000_000)
    static let alice = DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")!
    static let bob = DID("did:plc:bobbbbbbbbbbbbbbbbbbbbbb")!
    static let client: Bytes = "https://app.test/client.json"
    static let redirect: Bytes = "https://app.test/back"
    static let device: Bytes = "dev-00112233445566778899aabbccddeeff"
    static let thumbprint = thumbprint(1)
    static let pin = ClientKeyPin(id: "key 1", algorithm: "ES256", thumbprint: thumbprint(9))
    static let key = Secret([UInt8](repeating: 5, count: 32))

    static func thumbprint(_ seed: UInt8) -> Bytes {
        Bytes(RadixEncoding.base64URL.encode([UInt8](repeating: seed, count: 32)))
    }

    init(_ engine: Engine) throws {
        test = try engine.migrated()
        entropy = .seeded(7)
        requests = GrantRequestStore(entropy: entropy)
        tokens = Self.makeTokens(Self.key)
        store = GrantStore(database: test, tokens: tokens, entropy: entropy)
        for did in [Self.alice, Self.bob] {
            try test.write { writer in
                _ = try writer.run(
                    """
                    INSERT INTO account (did, password, created_at)
                    VALUES (\(SQL.Value.text(did.bytes)), \("x"), \(Self.start))
                    """)
            }
        }
    }

    static func makeTokens(
        _ key: Secret, issuer: Bytes = "https://home.test", service: DID = DID("did:web:home.test")!
    ) -> GrantTokens {
        GrantTokens(key: key, issuer: issuer, service: service)
    }

    static func holder(
        _ client: Bytes = client, _ thumbprint: Bytes = thumbprint, key: ClientKeyPin? = nil
    ) -> GrantHolder {
        GrantHolder(clientID: client, thumbprint: thumbprint, key: key)
    }

    /// Verifiers by number: each has a challenge of its own.
    static func verifier(_ number: Int) -> Bytes {
        Bytes("verifier-\(number)-") + Bytes([UInt8](repeating: 0x76, count: 43))
    }

    static func request(
        _ number: Int, client: Bytes = client, redirect: Bytes = redirect, scope: Bytes = "atproto repo:*",
        state: Bytes = "a state", thumbprint: Bytes? = thumbprint, key: ClientKeyPin? = nil
    ) throws -> GrantRequest {
        try GrantRequest(
            clientID: client, redirectURI: redirect, scope: scope, state: state,
            challenge: PKCEChallenge(digest: SHA256.hash(verifier(number))), thumbprint: thumbprint,
            loginHint: "alice.home.test", prompt: .consent, responseMode: .fragment, key: key,
            metadataDigest: Bytes([UInt8](repeating: 3, count: 32)))
    }

    /// Pushes and returns the request_uri.
    func push(_ request: GrantRequest, now: Timestamp = start) throws -> Bytes {
        try test.write { try requests.push(request, now: now, in: $0) }
    }

    func open(
        _ uri: Bytes, client: Bytes = client, device: Bytes = device, now: Timestamp = start
    ) throws -> Result<GrantRequest, AuthorizationError> {
        try test.write { try requests.open(uri, clientID: client, device: device, now: now, in: $0) }
    }

    func authorize(
        _ uri: Bytes, client: Bytes = client, device: Bytes = device, account: DID = alice,
        scope: Bytes = "atproto", now: Timestamp = start
    ) throws -> Result<AuthorizedCode, AuthorizationError> {
        try test.write {
            try requests.authorize(
                uri, clientID: client, device: device, account: account, scope: scope, now: now, in: $0)
        }
    }

    /// From pushing to the code.
    func code(
        _ number: Int, account: DID = alice, client: Bytes = client, thumbprint: Bytes? = thumbprint,
        key: ClientKeyPin? = nil, scope: Bytes = "atproto", now: Timestamp = start
    ) throws -> Bytes {
        let request = try Self.request(number, client: client, thumbprint: thumbprint, key: key)
        let uri = try push(request, now: now)
        _ = try open(uri, client: client, now: now).get()
        return try authorize(uri, client: client, account: account, scope: scope, now: now).get().code
    }

    func exchange(
        _ code: Bytes, _ number: Int, redirect: Bytes = redirect, by holder: GrantHolder = holder(),
        now: Timestamp = start
    ) throws -> Result<GrantedTokens, GrantRefusal> {
        try test.write {
            try store.exchange(
                code: code, redirectURI: redirect, verifier: Self.verifier(number), by: holder, now: now, in: $0)
        }
    }

    /// From pushing to the tokens.
    func signIn(
        _ number: Int, account: DID = alice, client: Bytes = client, thumbprint: Bytes = thumbprint,
        key: ClientKeyPin? = nil, now: Timestamp = start
    ) throws -> GrantedTokens {
        let code = try code(
            number, account: account, client: client, thumbprint: thumbprint, key: key, now: now)
        return try exchange(code, number, by: Self.holder(client, thumbprint, key: key), now: now).get()
    }

    func refresh(
        _ token: Bytes, by holder: GrantHolder = holder(), now: Timestamp = start
    ) throws -> Result<GrantedTokens, GrantRefusal> {
        try test.write { try store.refresh(token, by: holder, now: now, in: $0) }
    }

    /// Whether the tokens' session lets this access token in.
    func isAlive(_ tokens: GrantedTokens, now: Timestamp = start) throws -> Bool {
        do {
            return try store.access(tokens.accessToken, thumbprint: tokens.session.thumbprint, now: now)
                .id == tokens.session.id
        } catch let error as AuthorizationError where error.code == .invalidToken {
            return false
        }
    }

    /// Rows of a table of the store.
    func count(_ table: StaticString) throws -> Int {
        let sql = SQL(stringLiteral: "SELECT count(*) FROM \(table)")
        return try test.first(sql) { try $0.integer(0) } ?? -1
    }
}
