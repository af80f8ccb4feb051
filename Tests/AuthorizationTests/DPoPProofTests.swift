import Base
import Crypto
import Testing

@testable import Authorization

@Suite struct DPoPProofTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let name: String
        let change: @Sendable (inout TokenDraft) -> Void
        var code: AuthorizationError.Code? = .invalidDPoPProof
        var accessToken: Bytes?
        var testDescription: String { name }

        init(
            _ name: String, _ code: AuthorizationError.Code? = .invalidDPoPProof, accessToken: Bytes? = nil,
            _ change: @escaping @Sendable (inout TokenDraft) -> Void
        ) {
            self.name = name
            self.code = code
            self.accessToken = accessToken
            self.change = change
        }

        func found(_ key: SigningKey) throws -> AuthorizationError.Code? {
            var draft = Fixture.proof(key)
            change(&draft)
            return try Fixture.code(draft.token(), accessToken: accessToken)
        }

        func proof(_ key: SigningKey, _ target: DPoPTarget) throws(AuthorizationError) -> DPoPProof? {
            var draft = Fixture.proof(key)
            change(&draft)
            guard let token = try? draft.token() else { return nil }
            return try DPoPProof.verify(
                token, method: "POST", target: target, accessToken: accessToken, nonces: Fixture.nonces,
                now: Fixture.now)
        }
    }

    private static func header(_ name: String, _ member: Bytes, _ value: JOSEValue?) -> Row {
        Row(name) { $0.header[member] = value }
    }

    private static func claim(
        _ name: String, _ member: Bytes, _ value: JOSEValue?, _ code: AuthorizationError.Code? = .invalidDPoPProof
    ) -> Row {
        Row(name, code) { $0.claims[member] = value }
    }

    /// The `jwk` of the header with another member.
    private static func jwk(_ name: String, _ member: Bytes, _ value: JOSEValue?) -> Row {
        Row(name) { draft in
            var jwk = draft.key.publicKey.jwk
            jwk[member] = value
            draft.header["jwk"] = .json(Bytes(jwk.json))
        }
    }

    private static func signature(_ name: String, _ change: @escaping @Sendable ([UInt8]) -> [UInt8]) -> Row {
        Row(name) { $0.changeSignature = { signature, _ in change(signature) } }
    }

    private static func token(_ name: String, _ change: @escaping @Sendable (Bytes) -> Bytes) -> Row {
        Row(name) { $0.changeToken = change }
    }

    /// O001–O008.
    static let algorithms: [Row] = [
        header("alg none", "alg", "none"), header("alg None", "alg", "None"), header("alg empty", "alg", ""),
        header("alg RS256", "alg", "RS256"), header("alg ES384", "alg", "ES384"), header("alg EdDSA", "alg", "EdDSA"),
        header("alg missing", "alg", nil), header("alg a list", "alg", .texts(["ES256"])),
        header("alg null", "alg", .null), header("alg in lower case", "alg", "es256"),
        Row("alg of the other curve") {
            $0.header["alg"] = .text($0.key.algorithm == .p256 ? "ES256K" : "ES256")
        },
        Row("alg none and no signature") {
            $0.header["alg"] = "none"
            $0.changeSignature = { _, _ in [] }
        },
        Row("HS256 under the public key") { draft in
            draft.header["alg"] = "HS256"
            let jwk = Bytes(draft.key.publicKey.jwk.json)
            draft.changeToken = { token in
                let part = token.upTo(token.lastIndex(of: 0x2E) ?? 0)
                let code = HMACSHA256.authenticate(part, key: Secret(jwk.array))
                return part + "." + TokenDraft.base64(Bytes(code.bytes))
            }
        },
        header("typ JWT", "typ", "JWT"), header("typ at+jwt", "typ", "at+jwt"), header("typ missing", "typ", nil),
        header("typ in upper case", "typ", "DPOP+JWT"), header("typ with application/", "typ", "application/dpop+jwt"),
        header("typ a list", "typ", .texts(["dpop+jwt"])),
    ]

    /// O009.
    static let shapes: [Row] = [
        header("crit b64", "crit", .texts(["b64"])), header("crit empty", "crit", .texts([])),
        header("crit null", "crit", .null),
        Row("alg twice") { draft in
            draft.headerJSON = #"{"alg":"none","# + Bytes(draft.header.json).from(1)
        },
        Row("alg twice, once escaped") { draft in
            draft.headerJSON = #"{"\u0061lg":"none","# + Bytes(draft.header.json).from(1)
        },
        Row("htm twice") { draft in
            draft.claimsJSON = #"{"htm":"POST","# + Bytes(draft.claims.json).from(1)
        },
        Row("x twice in jwk") { draft in
            let jwk = Bytes(draft.key.publicKey.jwk.json)
            draft.header["jwk"] = .json(jwk.upTo(jwk.count - 1) + #","x":"AA"}"#)
        },
        Row("a header of 10 KB") { $0.header["kid"] = .text(Bytes([UInt8](repeating: 0x41, count: 10_240))) },
        Row("claims of 10 KB") { $0.claims["x"] = .text(Bytes([UInt8](repeating: 0x41, count: 10_240))) },
        token("one dot") { $0.upTo($0.lastIndex(of: 0x2E) ?? 0) }, token("three dots") { $0 + ".AA" },
        token("four dots, as a JWE") { $0 + ".AA.AA" }, token("no dot") { _ in "AAAA" }, token("empty") { _ in "" },
        token("dots alone") { _ in ".." }, token("a space before it") { " " + $0 },
        token("two proofs in one field") { $0 + ", " + $0 }, token("padding") { $0 + "=" },
        token("as JSON") { _ in #"{"payload":"e30","protected":"e30","signature":"AA"}"# },
        Row("a header that is a list") { $0.headerJSON = "[]" }, Row("claims that are null") { $0.claimsJSON = "null" },
        Row("claims that are no UTF-8") { $0.claimsJSON = Bytes([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D]) },
    ]

    /// O010.
    static let keys: [Row] = [
        header("no jwk", "jwk", nil), header("jwk a text", "jwk", "key"), header("jwk a list", "jwk", .json("[{}]")),
        header("jwk empty", "jwk", .json("{}")),
        Row("its private key too") { draft in
            var jwk = draft.key.publicKey.jwk
            jwk["d"] = .text(draft.key.secret.withBytes { TokenDraft.base64(Bytes($0)) })
            draft.header["jwk"] = .json(Bytes(jwk.json))
        },
        jwk("kty RSA", "kty", "RSA"), jwk("kty oct with k", "k", "AAAA"), jwk("kty missing", "kty", nil),
        jwk("crv P-384", "crv", "P-384"), jwk("crv missing", "crv", nil), jwk("use enc", "use", "enc"),
        jwk("key_ops without verify", "key_ops", .texts(["sign"])), jwk("alg of another curve", "alg", "ES512"),
        jwk("not on the curve", "y", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        Row("the other curve's name") { draft in
            var jwk = draft.key.publicKey.jwk
            jwk["crv"] = .text(draft.key.algorithm == .p256 ? "secp256k1" : "P-256")
            draft.header["jwk"] = .json(Bytes(jwk.json))
        },
        Row("infinity, written as zeros") { draft in
            var jwk = draft.key.publicKey.jwk
            jwk["x"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            jwk["y"] = jwk["x"]
            draft.header["jwk"] = .json(Bytes(jwk.json))
        },
        jwk("infinity, written as nothing", "x", ""),
        jwk("x of 31 bytes", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        jwk("x with a pad bit", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"),
        Row("another key's jwk") { draft in
            guard let other = try? SigningKey.generate(draft.key.algorithm, entropy: .system) else { return }
            draft.header["jwk"] = .json(Bytes(other.publicKey.jwk.json))
        },
        Row("kid that is not the one in jwk") { draft in
            var jwk = draft.key.publicKey.jwk
            jwk["kid"] = "one"
            draft.header["jwk"] = .json(Bytes(jwk.json))
            draft.header["kid"] = "../../etc/passwd"
        },
    ]

    /// O011.
    static let signatures: [Row] = [
        signature("r = s = 0") { _ in [UInt8](repeating: 0, count: 64) },
        signature("s = 0") { $0[..<32] + [UInt8](repeating: 0, count: 32) },
        signature("DER") { TokenDraft.asDER($0) }, signature("63 bytes") { Array($0.dropLast()) },
        signature("65 bytes") { $0 + [0] }, signature("none") { _ in [] },
        signature("a changed bit") { [$0[0] ^ 1] + $0[1...] },
        Row("of other claims") { draft in
            let changed = TokenDraft.base64(Bytes(draft.claims.json) + " ")
            draft.changeToken = { token in
                let parts = token.split(on: 0x2E)
                return parts[0] + "." + changed + "." + parts[2]
            }
        },
    ]

    /// O013.
    static let claims: [Row] = [
        claim("no jti", "jti", nil), claim("jti empty", "jti", ""), claim("jti a number", "jti", .integer(1)),
        claim("jti of 257 bytes", "jti", .text(Bytes([UInt8](repeating: 0x41, count: 257)))),
        claim("no iat", "iat", nil), claim("iat a text", "iat", .text(Bytes(String(Fixture.now.seconds)))),
        claim("iat with an exponent", "iat", .json("175e7")), claim("iat negative", "iat", .integer(-1)),
        claim("iat beyond 64 bits", "iat", .json("18446744073709551616")),
        claim("iat in milliseconds", "iat", .integer(Fixture.now.seconds * 1_000)),
        claim("iat the greatest", "iat", .integer(.max)),
        claim("iat 10 minutes ago", "iat", .integer(Fixture.now.seconds - 600)),
        claim("iat 191 s ago", "iat", .integer(Fixture.now.seconds - 191)),
        claim("iat in 181 s", "iat", .integer(Fixture.now.seconds + 181)),
        claim("iat in 10 minutes", "iat", .integer(Fixture.now.seconds + 600)),
        claim("exp 10 minutes ago", "exp", .integer(Fixture.now.seconds - 600)), claim("exp a text", "exp", "soon"),
        claim("nbf in 10 minutes", "nbf", .integer(Fixture.now.seconds + 600)),
        claim("no htm", "htm", nil), claim("htm in lower case", "htm", "post"), claim("htm another", "htm", "GET"),
        claim("htm a list", "htm", .texts(["POST"])), claim("htm with a space", "htm", "POST "),
        claim("no htu", "htu", nil), claim("htu a list", "htu", .texts([Fixture.url])),
        claim("htu http", "htu", "http://pds.example.com/oauth/token"),
        claim("htu another host", "htu", "https://pds.example.org/oauth/token"),
        claim("htu another port", "htu", "https://pds.example.com:8443/oauth/token"),
        claim("htu another path", "htu", "https://pds.example.com/oauth/par"),
        claim("htu another case of the path", "htu", "https://pds.example.com/OAuth/token"),
        claim("htu a slash more", "htu", "https://pds.example.com/oauth/token/"),
        claim("htu with a query", "htu", "https://pds.example.com/oauth/token?a=b"),
        claim("htu with an empty query", "htu", "https://pds.example.com/oauth/token?"),
        claim("htu with a fragment", "htu", "https://pds.example.com/oauth/token#a"),
        claim("htu with a user", "htu", "https://a@pds.example.com/oauth/token"),
        claim("htu with a host as user", "htu", "https://pds.example.com:443@evil.example/oauth/token"),
        claim("htu with an encoded slash", "htu", "https://pds.example.com/oauth%2Ftoken"),
        claim("htu with a backslash", "htu", #"https://pds.example.com\oauth\token"#),
        claim("htu with a newline", "htu", "https://pds.example.com/oauth/token\n"),
        claim("htu relative", "htu", "/oauth/token"), claim("htu empty", "htu", ""),
        claim("ath without a token", "ath", "AAAA"),
    ]

    /// O013: these clients are told the nonce, and try again.
    static let nonces: [Row] = [
        claim("no nonce", "nonce", nil, .useDPoPNonce), claim("nonce empty", "nonce", "", .useDPoPNonce),
        claim("nonce of nobody", "nonce", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", .useDPoPNonce),
        claim(
            "nonce of 2 minutes ago", "nonce", .text(Fixture.nonces.current(Fixture.now.adding(seconds: -120))),
            .useDPoPNonce),
        claim(
            "nonce in 2 minutes", "nonce", .text(Fixture.nonces.current(Fixture.now.adding(seconds: 120))),
            .useDPoPNonce),
        claim(
            "nonce of another epoch", "nonce",
            .text(DPoPNonces(secret: Fixture.secret, epoch: "other").current(Fixture.now)), .useDPoPNonce),
        claim(
            "nonce under another secret", "nonce",
            .text(DPoPNonces(secret: Secret([1]), epoch: "epoch").current(Fixture.now)), .useDPoPNonce),
        claim("nonce a number", "nonce", .integer(1)), claim("nonce null", "nonce", .null),
    ]

    private static func ath(_ name: String, _ value: JOSEValue?) -> Row {
        Row(name, accessToken: Fixture.accessToken) { $0.claims["ath"] = value }
    }

    private static func digest(_ token: Bytes) -> Bytes { TokenDraft.base64(Bytes(SHA256.hash(token).bytes)) }

    /// O013, where an access token is sent.
    static let bindings: [Row] = [
        ath("no ath", nil), ath("ath of another token", .text(digest("other"))), ath("ath empty", ""),
        ath("ath a list", .texts([digest(Fixture.accessToken)])), ath("the token itself", .text(Fixture.accessToken)),
        ath("ath cut", .text(digest(Fixture.accessToken).upTo(42))),
        ath("ath padded", .text(digest(Fixture.accessToken) + "=")),
    ]

    static let all = algorithms + shapes + keys + signatures + claims + nonces + bindings

    @Test(arguments: all)
    func wrongProofsAreRefused(_ row: Row) throws {
        for key in try Fixture.keys() { #expect(try row.found(key) == row.code, "\(key.algorithm)") }
    }

    @Test func thereAreEnoughOfThem() {
        let all = Self.all
        #expect(Set(all.map(\.name)).count == all.count)
        #expect(all.count > 120)
        #expect(all.allSatisfy { $0.code != nil })
    }

    static let right: [Row] = [
        Row("plain", nil) { _ in }, Row("high S", nil) { $0.changeSignature = TokenDraft.withHighS },
        claim("iat 190 s ago", "iat", .integer(Fixture.now.seconds - 190), nil),
        claim("iat in 180 s", "iat", .integer(Fixture.now.seconds + 180), nil),
        claim("iat with a fraction", "iat", .json("1750000017.25"), nil),
        claim(
            "a nonce of the minute before", "nonce", .text(Fixture.nonces.current(Fixture.now.adding(seconds: -60))),
            nil),
        claim(
            "a nonce of the minute after", "nonce", .text(Fixture.nonces.current(Fixture.now.adding(seconds: 60))),
            nil),
        claim("a jti of 256 bytes", "jti", .text(Bytes([UInt8](repeating: 0x41, count: 256))), nil),
        claim("htu in another form", "htu", "HTTPS://PDS.example.com:443/./oauth/x/../%74oken", nil),
        claim("exp and more", "exp", .integer(Fixture.now.seconds + 60), nil),
        Row("a jwk as browsers export it", nil) { draft in
            var jwk = draft.key.publicKey.jwk
            jwk["ext"] = .bool(true)
            jwk["key_ops"] = .texts(["verify"])
            jwk["alg"] = .text(draft.key.algorithm.jwsName)
            jwk["use"] = "sig"
            jwk["kid"] = "one"
            draft.header["jwk"] = .json(Bytes(jwk.json))
            draft.header["kid"] = "one"
        },
        Row("for a token", nil, accessToken: Fixture.accessToken) {
            $0.claims["ath"] = .text(digest(Fixture.accessToken))
        },
    ]

    @Test(arguments: right) func rightProofsAreTaken(_ row: Row) throws {
        for key in try Fixture.keys() { #expect(try row.found(key) == nil, "\(key.algorithm)") }
    }

    @Test func aProofNamesItsKeyAndHowLongItCounts() throws {
        let target = try #require(Fixture.target())
        for key in try Fixture.keys() {
            let proof = try DPoPProof.verify(
                Fixture.proof(key).token(), method: "POST", target: target, accessToken: nil, nonces: Fixture.nonces,
                now: Fixture.now)
            #expect(proof.thumbprint == key.publicKey.jwkThumbprintText)
            #expect(proof.identifier == "one")
            // From then on it is refused: the store may forget it.
            let last = Timestamp(microseconds: proof.usableUntil.microseconds - 1)
            #expect(try Fixture.code(Fixture.proof(key).token(), now: last) == nil)
            #expect(try Fixture.code(Fixture.proof(key).token(), now: proof.usableUntil) == .useDPoPNonce)
            var old = Fixture.proof(key)
            old.claims["iat"] = .integer(Fixture.now.seconds - 170)
            let aged = try DPoPProof.verify(
                old.token(), method: "POST", target: target, accessToken: nil, nonces: Fixture.nonces, now: Fixture.now)
            #expect(aged.usableUntil == Fixture.now.adding(seconds: 21))
            #expect(try Fixture.code(old.token(), now: aged.usableUntil) == .invalidDPoPProof)
        }
    }

    /// The example of RFC 9449 §4.1 is of 2019 and has no nonce, which is the last thing that is looked at.
    @Test func theExampleOfRFC9449() throws {
        let proof = Bytes(
            "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklD"
                + "UkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2"
                + "R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHB"
                + "zOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8ig"
                + "iMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg")
        let target = try #require(DPoPTarget(publicURL: "https://server.example.com", path: "/token"))
        let now = Timestamp(seconds: 1_562_262_616)
        #expect(throws: AuthorizationError(.useDPoPNonce, "The proof needs the nonce of the DPoP-Nonce header")) {
            try DPoPProof.verify(
                proof, method: "POST", target: target, accessToken: nil, nonces: Fixture.nonces, now: now)
        }
        var changed = proof.array
        changed[changed.count - 10] ^= 1
        #expect(throws: AuthorizationError(.invalidDPoPProof, "DPoP proof: wrong signature")) {
            try DPoPProof.verify(
                Bytes(changed), method: "POST", target: target, accessToken: nil, nonces: Fixture.nonces, now: now)
        }
    }
}

@Suite struct DPoPChallengeTests {
    @Test func aChallengeSaysWhatIsWrong() {
        let error = AuthorizationError(.useDPoPNonce, "The nonce is over")
        #expect(
            error.challenge
                == #"DPoP error="use_dpop_nonce", error_description="The nonce is over", algs="ES256 ES256K""#)
    }

    /// RFC 6749 §5.2: what is told to clients stands between quotes, and is ASCII without quotes and backslashes.
    @Test func whatIsToldCanBeQuoted() throws {
        var told: Set<Bytes> = []
        let target = try #require(Fixture.target())
        for row in DPoPProofTests.all {
            for key in try Fixture.keys() {
                do throws(AuthorizationError) {
                    _ = try row.proof(key, target)
                } catch {
                    told.insert(error.description)
                }
            }
        }
        #expect(told.count > 15)
        #expect(told.allSatisfy { $0.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C } })
    }
}

@Suite struct DPoPNonceTests {
    @Test func everyProcessHasTheSame() {
        let other = DPoPNonces(secret: Fixture.secret, epoch: "epoch")
        let start = Timestamp(seconds: 1_750_000_020)
        for second in [Int64(0), 1, 59] {
            #expect(other.current(start.adding(seconds: second)) == other.current(start))
        }
        #expect(other.current(start) == Fixture.nonces.current(start))
        #expect(other.current(start) != other.current(start.adding(seconds: 60)))
        #expect(other.current(start).count == 43)
    }

    /// A nonce counts for its minute, the one before and the one after: 3 minutes (5 at most, atproto OAuth).
    @Test func aNonceCountsForThreeMinutes() {
        let start = Timestamp(seconds: 1_750_000_020)
        let nonce = Fixture.nonces.current(start)
        let rows: [(seconds: Int64, isTaken: Bool)] = [
            (-61, false), (-60, true), (0, true), (59, true), (60, true), (119, true), (120, false), (86_400, false),
        ]
        for row in rows {
            let end = Fixture.nonces.validUntil(nonce, start.adding(seconds: row.seconds))
            #expect(end == (row.isTaken ? start.adding(seconds: 120) : nil), "\(row.seconds)")
        }
        #expect(Fixture.nonces.validUntil(nonce, Timestamp(seconds: -1)) == nil)
        #expect(Fixture.nonces.validUntil(Fixture.nonces.current(Timestamp(seconds: 0)), Timestamp(seconds: 0)) != nil)
    }
}

@Suite struct DPoPTargetTests {
    static let same: [(name: String, address: Bytes)] = [
        ("as it is", "https://a.example/x/y"), ("case of scheme and host", "HTTPS://A.Example/x/y"),
        ("the default port", "https://a.example:443/x/y"), ("an empty port", "https://a.example:/x/y"),
        ("an encoded letter", "https://a.example/%78/y"), ("dot segments", "https://a.example/./z/../x/y"),
        ("dots above the root", "https://a.example/../x/y"), ("encoded dots", "https://a.example/%2E%2e/x/y"),
    ]

    @Test(arguments: same) func formsOfOneAddressAreOne(name: String, address: Bytes) throws {
        #expect(try #require(DPoPTarget(publicURL: "https://a.example/", path: "/x/y")).isNamed(by: address))
    }

    static let other: [(name: String, address: Bytes)] = [
        ("empty", ""), ("a path", "/x/y"), ("no slashes", "https:a.example/x/y"), ("one slash", "https:/a.example/x/y"),
        ("no host", "https:///x/y"), ("http", "http://a.example/x/y"), ("http's port", "https://a.example:80/x/y"),
        ("a port too large", "https://a.example:65979/x/y"), ("a port with a sign", "https://a.example:+443/x/y"),
        ("a port with zeros", "https://a.example:0443/x/y"), ("a trailing dot", "https://a.example./x/y"),
        ("a user", "https://u@a.example/x/y"), ("a query", "https://a.example/x/y?"),
        ("a fragment", "https://a.example/x/y#"), ("a broken escape", "https://a.example/x/y%"),
        ("a broken escape, later", "https://a.example/x/%7/y"), ("an escape that is none", "https://a.example/%zz/y"),
        ("an encoded slash", "https://a.example/x%2fy"), ("a double slash", "https://a.example//x/y"),
        ("a space", "https://a.example/x/ y"), ("a tab", "https://a.example/x\t/y"), ("NUL", "https://a.example/x/y\0"),
        ("not ASCII", "https://ä.example/x/y"), ("an encoded host", "https://a%2Eexample/x/y"),
        ("too long", Bytes([UInt8](repeating: 0x61, count: 2_049))), ("a backslash", #"https://a.example\x/y"#),
    ]

    @Test(arguments: other) func whatIsAnotherAddressIs(name: String, address: Bytes) throws {
        #expect(try !#require(DPoPTarget(publicURL: "https://a.example", path: "/x/y")).isNamed(by: address))
    }

    static let forms: [(address: Bytes, normal: Bytes?)] = [
        ("https://a.example", "https://a.example/"), ("http://[::1]:80/a", "http://[::1]/a"),
        ("http://127.0.0.1:2583/xrpc/x", "http://127.0.0.1:2583/xrpc/x"), ("https://a/b/..", "https://a/"),
        ("https://a/b/.", "https://a/b/"), ("https://a/%7e%3a%C3%a4", "https://a/~%3A%C3%A4"), ("ftp://a/b", nil),
        ("https://[::1", nil), ("https://[::1]x/", nil), ("https://[]/", nil), ("https://:443/", nil),
    ]

    @Test(arguments: forms) func normalFormsStay(address: Bytes, normal: Bytes?) {
        #expect(DPoPTarget.normalize(address) == normal)
        if let normal { #expect(DPoPTarget.normalize(normal) == normal) }
    }

    @Test func whatIsNoAddressMakesNoTarget() {
        #expect(DPoPTarget(publicURL: "pds.example.com", path: "/a") == nil)
        #expect(DPoPTarget(publicURL: "https://pds.example.com", path: "a") == nil)
        #expect(DPoPTarget(publicURL: "https://pds.example.com", path: "/a?b") == nil)
        #expect(DPoPTarget(publicURL: "", path: "/a") == nil)
    }
}
