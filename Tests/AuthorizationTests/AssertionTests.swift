import Base
import Crypto
import Storage
import TestSupport
import Testing

@testable import Authorization

@Suite struct AssertionTests {
    static let clientID: Bytes = "https://app.example.com/client-metadata.json"
    static let issuer: Bytes = "https://pds.example.com"
    static let now = Fixture.now

    static func draft(_ key: SigningKey) -> TokenDraft {
        TokenDraft(
            header: ["alg": .text(key.algorithm.jwsName), "kid": "key-1"],
            claims: [
                "iss": .text(clientID), "sub": .text(clientID), "aud": .text(issuer), "jti": "one",
                "iat": .integer(now.seconds),
            ],
            key: key)
    }

    /// The client's keys as it publishes them.
    static func keys(_ key: SigningKey) throws -> JWKSet {
        var jwk = key.publicKey.jwk
        jwk["kid"] = "key-1"
        return try JWKSet(json: #"{"keys":["# + Bytes(jwk.json) + "]}")
    }

    static func verify(
        _ token: Bytes, _ key: SigningKey, type: Bytes = ClientAssertion.type, algorithm: Bytes? = nil,
        proof: DPoPProof? = nil, now: Timestamp = now
    ) throws -> ClientAssertion {
        try ClientAssertion.verify(
            token, type: type, clientID: clientID, issuer: issuer, keys: keys(key), algorithm: algorithm, proof: proof,
            now: now)
    }

    private static func code(_ body: () throws -> Void) throws -> AuthorizationError.Code? {
        do {
            try body()
            return nil
        } catch let error as AuthorizationError {
            return error.code
        }
    }

    struct Row: CustomTestStringConvertible, Sendable {
        let name: String
        let change: @Sendable (inout TokenDraft) -> Void
        var testDescription: String { name }

        init(_ name: String, _ change: @escaping @Sendable (inout TokenDraft) -> Void) {
            self.name = name
            self.change = change
        }
    }

    private static func header(_ name: String, _ member: Bytes, _ value: JOSEValue?) -> Row {
        Row(name) { $0.header[member] = value }
    }

    private static func claim(_ name: String, _ member: Bytes, _ value: JOSEValue?) -> Row {
        Row(name) { $0.claims[member] = value }
    }

    /// O001–O011 for assertions.
    static let wrong: [Row] = [
        header("alg none", "alg", "none"), header("alg None", "alg", "None"), header("alg RS256", "alg", "RS256"),
        header("alg ES384", "alg", "ES384"), header("alg missing", "alg", nil),
        header("alg a list", "alg", .texts(["ES256", "ES256K"])),
        Row("alg of the other curve") { $0.header["alg"] = .text($0.key.algorithm == .p256 ? "ES256K" : "ES256") },
        Row("alg none and no signature") {
            $0.header["alg"] = "none"
            $0.changeSignature = { _, _ in [] }
        },
        Row("HS256 under the public key") { draft in
            draft.header["alg"] = "HS256"
            let jwk = Bytes(draft.key.publicKey.jwk.json)
            draft.changeToken = { token in
                let part = token.upTo(token.lastIndex(of: 0x2E) ?? 0)
                return part + "."
                    + TokenDraft.base64(Bytes(HMACSHA256.authenticate(part, key: Secret(jwk.array)).bytes))
            }
        },
        header("typ dpop+jwt", "typ", "dpop+jwt"), header("typ at+jwt", "typ", "at+jwt"),
        header("typ a list", "typ", .texts(["JWT"])), header("crit", "crit", .texts(["exp"])),
        Row("alg twice") { $0.headerJSON = #"{"alg":"none","# + Bytes($0.header.json).from(1) },
        Row("iss twice") { $0.claimsJSON = #"{"iss":"https://evil.example","# + Bytes($0.claims.json).from(1) },
        header("no kid", "kid", nil), header("kid empty", "kid", ""), header("kid unknown", "kid", "key-2"),
        header("kid a path", "kid", "../../etc/passwd"), header("kid SQL", "kid", "key-1' OR '1'='1"),
        header("kid a number", "kid", .integer(1)),
        header("kid of 10 KB", "kid", .text(Bytes([UInt8](repeating: 0x41, count: 10_240)))),
        Row("its own jwk") { $0.header["jwk"] = .json(Bytes($0.key.publicKey.jwk.json)) },
        header("jku", "jku", "https://evil.example/jwks"), header("x5c", "x5c", .texts(["AAAA"])),
        header("x5u", "x5u", "https://evil.example/"),
        Row("signed by another key") { draft in
            guard let other = try? SigningKey.generate(draft.key.algorithm, entropy: .system) else { return }
            draft.key = other
        },
        Row("signed by another key that it brings") { draft in
            guard let other = try? SigningKey.generate(draft.key.algorithm, entropy: .system) else { return }
            draft.key = other
            draft.header["jwk"] = .json(Bytes(other.publicKey.jwk.json))
        },
        Row("r = s = 0") { $0.changeSignature = { _, _ in [UInt8](repeating: 0, count: 64) } },
        Row("DER") { $0.changeSignature = { signature, _ in TokenDraft.asDER(signature) } },
        Row("no signature") { $0.changeSignature = { _, _ in [] } },
        Row("one dot") { $0.changeToken = { $0.upTo($0.lastIndex(of: 0x2E) ?? 0) } },
        Row("four dots") { $0.changeToken = { $0 + ".AA.AA" } }, Row("empty") { $0.changeToken = { _ in "" } },
        claim("no iss", "iss", nil), claim("iss another", "iss", "https://evil.example/client-metadata.json"),
        claim("iss in another case", "iss", "https://APP.example.com/client-metadata.json"),
        claim("iss a list", "iss", .texts([clientID])), claim("no sub", "sub", nil),
        claim("sub another", "sub", "https://evil.example/client-metadata.json"),
        claim("no aud", "aud", nil), claim("aud another", "aud", "https://pds.example.org"),
        claim("aud with a slash", "aud", "https://pds.example.com/"),
        claim("aud the token endpoint", "aud", "https://pds.example.com/oauth/token"),
        claim("aud an empty list", "aud", .texts([])), claim("aud others", "aud", .texts(["a", "b"])),
        claim("aud a mixed list", "aud", .json(#"["https://pds.example.com",1]"#)),
        claim("no jti", "jti", nil), claim("jti empty", "jti", ""), claim("jti a number", "jti", .integer(1)),
        claim("jti of 257 bytes", "jti", .text(Bytes([UInt8](repeating: 0x41, count: 257)))),
        claim("no iat", "iat", nil), claim("iat a text", "iat", "now"),
        claim("iat 91 s ago", "iat", .integer(now.seconds - 91)),
        claim("iat in 31 s", "iat", .integer(now.seconds + 31)),
        claim("iat the greatest", "iat", .integer(.max)), claim("exp 30 s ago", "exp", .integer(now.seconds - 30)),
        claim("exp null", "exp", .null), claim("nbf in 31 s", "nbf", .integer(now.seconds + 31)),
    ]

    @Test(arguments: wrong) func wrongAssertionsAreRefused(_ row: Row) throws {
        for key in try Fixture.keys() {
            var draft = Self.draft(key)
            row.change(&draft)
            let token = try draft.token()
            #expect(try Self.code { _ = try Self.verify(token, key) } == .invalidClient, "\(key.algorithm)")
        }
    }

    static let right: [Row] = [
        Row("plain") { _ in }, header("typ JWT", "typ", "JWT"),
        header("typ of its own", "typ", "client-authentication+jwt"),
        Row("high S") { $0.changeSignature = TokenDraft.withHighS }, claim("aud a list", "aud", .texts(["a", issuer])),
        claim("exp", "exp", .integer(now.seconds + 60)),
        claim("exp in a year", "exp", .integer(now.seconds + 31_536_000)),
        claim("iat 90 s ago", "iat", .integer(now.seconds - 90)),
        claim("iat in 30 s", "iat", .integer(now.seconds + 30)),
        claim("nbf", "nbf", .integer(now.seconds)),
    ]

    @Test(arguments: right) func rightAssertionsAreTaken(_ row: Row) throws {
        for key in try Fixture.keys() {
            var draft = Self.draft(key)
            row.change(&draft)
            let assertion = try Self.verify(draft.token(), key, algorithm: key.algorithm.jwsName)
            #expect(
                assertion.key
                    == ClientKeyPin(
                        id: "key-1", algorithm: key.algorithm.jwsName,
                        thumbprint: key.publicKey.jwkThumbprintText))
        }
    }

    @Test func whatComesBesideItMustBeRight() throws {
        for key in try Fixture.keys() {
            let token = try Self.draft(key).token()
            let other = try SigningKey.generate(.p256, entropy: .system)
            func proof(_ key: SigningKey) -> DPoPProof {
                DPoPProof(
                    thumbprint: key.publicKey.jwkThumbprintText, identifier: "one", usableUntil: Self.now, epoch: "")
            }
            let otherAlgorithm: Bytes = key.algorithm == .p256 ? "ES256K" : "ES256"
            #expect(try Self.code { _ = try Self.verify(token, key, type: "") } == .invalidClient)
            #expect(try Self.code { _ = try Self.verify(token, key, type: "jwt-bearer") } == .invalidClient)
            #expect(try Self.code { _ = try Self.verify(token, key, algorithm: otherAlgorithm) } == .invalidClient)
            #expect(try Self.code { _ = try Self.verify(token, key, algorithm: "RS256") } == .invalidClient)
            // O014.
            #expect(try Self.code { _ = try Self.verify(token, key, proof: proof(key)) } == .invalidRequest)
            #expect(try Self.code { _ = try Self.verify(token, key, proof: proof(other)) } == nil)
        }
    }

    @Test(arguments: Engine.all) func anAssertionCountsOnce(_ engine: Engine) throws {
        let database = try engine.migrated()
        let key = try SigningKey.generate(.p256, entropy: .system)
        let assertion = try Self.verify(Self.draft(key).token(), key)
        func use(_ assertion: ClientAssertion, fails: Bool = false) throws {
            struct Failed: Error {}
            try database.write { writer in
                try ReplayStore.use(assertion, now: Self.now, in: writer)
                if fails { throw Failed() }
            }
        }
        // A request that failed has not used it.
        #expect(throws: (any Error).self) { try use(assertion, fails: true) }
        try use(assertion)
        #expect(try Self.code { try use(assertion) } == .invalidClient)
        var draft = Self.draft(key)
        draft.claims["jti"] = "two"
        try use(Self.verify(draft.token(), key))
        let other = try SigningKey.generate(.p256, entropy: .system)
        try use(Self.verify(Self.draft(other).token(), other))
        // It is remembered until it is refused for its age.
        let end = assertion.usableUntil
        let last = end.adding(seconds: -1)
        #expect(try Self.code { _ = try Self.verify(Self.draft(key).token(), key, now: last) } == nil)
        #expect(try Self.code { _ = try Self.verify(Self.draft(key).token(), key, now: end) } == .invalidClient)
        #expect(try ReplayStore.trimAssertions(now: end, in: database) == 0)
        #expect(try ReplayStore.trimAssertions(now: end.adding(seconds: ReplayStore.skewSeconds), in: database) == 3)
    }

    @Test(arguments: Engine.all) func oneOfManyAssertionsWins(_ engine: Engine) throws {
        let fresh = try engine.migrated()
        let databases = try (0..<4).map { _ in try fresh.reopened() }
        let key = try SigningKey.generate(.p256, entropy: .system)
        let assertion = try Self.verify(Self.draft(key).token(), key)
        let successes = Guarded(0)
        onThreads(64) { number in
            let isUsed: Void? = try? databases[number % databases.count].write { writer in
                try ReplayStore.use(assertion, now: Self.now, in: writer)
            }
            if isUsed != nil { successes.withLock { $0 += 1 } }
        }
        #expect(successes.withLock { $0 } == 1)
    }
}
