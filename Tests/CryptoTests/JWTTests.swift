import Base
import Crypto
import Testing

private func base64(_ text: String) -> Bytes { Bytes(RadixEncoding.base64URL.encode(Array(text.utf8))) }

@Suite struct JWTTests {
    static let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    /// RFC 7515 Appendix A.1.
    static let hs256 = Bytes(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\(payload).dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    /// RFC 7515 Appendix A.3; its S happens to be high.
    static let es256 = Bytes(
        "eyJhbGciOiJFUzI1NiJ9.\(payload)."
            + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )

    func hs256Key() throws -> Secret {
        let text: Bytes = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
        return Secret(try #require(RadixEncoding.base64URL.decode(text)))
    }

    func es256Key() throws -> VerificationKey {
        try VerificationKey(jwk: [
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        ])
    }

    @Test func theExamplesOfRFC7515Verify() throws {
        let symmetric = try JWT(parsing: Self.hs256)
        try symmetric.verify(hs256: hs256Key())
        #expect(symmetric.header == ["typ": "JWT", "alg": "HS256"])
        #expect(symmetric.claims.text("iss") == "joe")
        #expect(symmetric.claims.integer("exp") == 1_300_819_380)
        #expect(symmetric.claims["http://example.com/is_root"] == .bool(true))
        let asymmetric = try JWT(parsing: Self.es256)
        try asymmetric.verify(es256Key(), lowS: false)
        #expect(throws: JWTError.wrongSignature) { try asymmetric.verify(es256Key()) }
        #expect(throws: JWTError.wrongSignature) { try symmetric.verify(hs256: Secret([1])) }
    }

    @Test(arguments: KeyAlgorithm.allCases) func signedTokensVerify(algorithm: KeyAlgorithm) throws {
        let key = try SigningKey.generate(algorithm, entropy: .system)
        let claims: JOSEObject = ["iss": "did:plc:x", "exp": .integer(60), "aud": .texts(["a", "b"]), "n": .null]
        let token = try JWT.sign(header: ["typ": "JWT"], claims: claims, key: key)
        let parsed = try JWT(parsing: token)
        try parsed.verify(key.publicKey)
        #expect(parsed.claims == claims)
        #expect(parsed.header == ["typ": "JWT", "alg": .text(algorithm.jwsName)])
        #expect(try VerificationKey(jwk: key.publicKey.jwk) == key.publicKey)
        #expect(throws: JWTError.wrongAlgorithm) { try parsed.verify(hs256: Secret(key.publicKey.compressed.array)) }
        let other = try SigningKey.generate(algorithm, entropy: .system)
        #expect(throws: JWTError.wrongSignature) { try parsed.verify(other.publicKey) }
        let otherCurve: KeyAlgorithm = algorithm == .p256 ? .k256 : .p256
        let foreign = try SigningKey.generate(otherCurve, entropy: .system)
        #expect(throws: JWTError.wrongAlgorithm) { try parsed.verify(foreign.publicKey) }
    }

    /// Headers of tokens whose signature is right: what they say of the algorithm decides nothing.
    static let headers: [(name: String, header: String)] = [
        ("none", #"{"alg":"none"}"#), ("another case", #"{"alg":"hs256"}"#), ("missing", #"{"typ":"JWT"}"#),
        ("ES256", #"{"alg":"ES256"}"#), ("HS512", #"{"alg":"HS512"}"#), ("a list", #"{"alg":["HS256"]}"#),
        ("null", #"{"alg":null}"#), ("crit", #"{"alg":"HS256","crit":["exp"]}"#),
    ]

    @Test(arguments: headers) func theKeyDecidesTheAlgorithm(name: String, header: String) throws {
        let key = Secret([1, 2, 3])
        let part = base64(header) + "." + base64("{}")
        let code = HMACSHA256.authenticate(part, key: key)
        let token = part + "." + Bytes(RadixEncoding.base64URL.encode(code.bytes))
        let parsed = try JWT(parsing: token)
        #expect(throws: JWTError.wrongAlgorithm) { try parsed.verify(hs256: key) }
    }

    @Test func anUnsignedTokenIsNotTaken() throws {
        let token = base64(#"{"alg":"HS256"}"#) + "." + base64("{}") + "."
        #expect(throws: JWTError.wrongSignature) { try JWT(parsing: token).verify(hs256: Secret([])) }
    }

    static let head = base64(#"{"alg":"HS256"}"#)
    static let malformed: [(name: String, token: Bytes)] = [
        ("empty", ""), ("one part", head), ("two parts", head + "." + head),
        ("four parts", head + "." + head + ".AA.AA"),
        ("five parts", head + "." + head + ".AA.AA.AA"), ("empty parts", ".."), ("empty header", "." + head + ".AA"),
        ("empty claims", head + "..AA"), ("padding", head + "." + base64("{ }") + ".AA=="),
        ("padding bits", head + "." + base64("{ }") + ".AB"), ("base64, not base64url", head + "." + head + ".+/"),
        ("a space", head + "." + head + ".AA "), ("a newline", head + "." + head + ".AA\n"),
        ("a length that cannot be", head + "." + head + ".A"), ("claims a list", head + "." + base64("[]") + ".AA"),
        ("claims a text", head + "." + base64("\"x\"") + ".AA"), ("claims no JSON", head + "." + base64("x") + ".AA"),
        ("claims with more after them", head + "." + base64("{} {}") + ".AA"),
        ("a member twice", base64(#"{"alg":"none","alg":"HS256"}"#) + "." + base64("{}") + ".AA"),
        ("a member twice, escaped", base64(#"{"alg":"none","\u0061lg":"HS256"}"#) + "." + base64("{}") + ".AA"),
        ("too large", head + "." + Bytes([UInt8](repeating: 0x41, count: 16_384)) + ".AA"),
    ]

    @Test(arguments: malformed) func malformedTokensAreRefused(name: String, token: Bytes) {
        #expect(throws: JWTError.malformed) { try JWT(parsing: token) }
    }

    /// The public key of RFC 7515 Appendix A.3 with other members.
    private static func jwk(_ changes: [(name: Bytes, value: JOSEValue?)]) -> JOSEObject {
        var jwk: JOSEObject = [
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        ]
        for change in changes { jwk[change.name] = change.value }
        return jwk
    }

    static let wrongJWKs: [(name: String, jwk: JOSEObject)] = [
        ("empty", [:]), ("RSA", jwk([("kty", "RSA")])), ("no kind", jwk([("kty", nil)])),
        ("no curve", jwk([("crv", nil)])), ("another curve", jwk([("crv", "secp256k1")])),
        ("P-384", jwk([("crv", "P-384")])), ("private", jwk([("d", "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI")])),
        ("a short x", jwk([("x", "f83O")])), ("no y", jwk([("y", nil)])), ("y a number", jwk([("y", .integer(1))])),
        ("off the curve", jwk([("y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4")])),
        ("a padded x", jwk([("x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=")])),
    ]

    @Test(arguments: wrongJWKs) func wrongJWKsAreRefused(name: String, jwk: JOSEObject) throws {
        #expect(throws: CryptoError.invalidPublicKey) { try VerificationKey(jwk: jwk) }
        #expect(try VerificationKey(jwk: Self.jwk([])).algorithm == .p256)
    }
}

@Suite struct JOSEObjectTests {
    static let right: [(name: String, json: Bytes, member: JOSEValue?)] = [
        ("empty", "{}", nil), ("spaces", " \t\r\n{ } ", nil), ("text", #"{"a":"b"}"#, "b"),
        ("escapes", #"{"a":"\"\\\/\b\f\n\r\té"}"#, .text("\"\\/\u{08}\u{0C}\n\r\té")),
        ("unicode escapes", #"{"a":"\u00e9\u20AC"}"#, .text("é€")),
        ("a surrogate pair", #"{"a":"\ud83d\ude00"}"#, .text("😀")), ("NUL, escaped", #"{"a":"\u0000"}"#, .text("\0")),
        ("zero", #"{"a":0}"#, .integer(0)), ("negative", #"{"a":-12}"#, .integer(-12)),
        ("minus zero", #"{"a":-0}"#, .json("-0")),
        ("the greatest", #"{"a":9223372036854775807}"#, .integer(.max)),
        ("one more than the greatest", #"{"a":9223372036854775808}"#, .json("9223372036854775808")),
        ("a fraction", #"{"a":1.5}"#, .json("1.5")), ("an exponent", #"{"a":1e3}"#, .json("1e3")),
        ("true", #"{"a":true}"#, .bool(true)), ("false", #"{"a":false}"#, .bool(false)),
        ("null", #"{"a":null}"#, .null),
        ("texts", #"{"a":["b", "c"]}"#, .texts(["b", "c"])), ("no texts", #"{"a":[ ]}"#, .texts([])),
        ("a mixed list", #"{"a":["b",1]}"#, .json(#"["b",1]"#)),
        ("an object", #"{"a":{"b":[{}]}}"#, .json(#"{"b":[{}]}"#)),
    ]

    @Test(arguments: right) func strictJSONIsRead(name: String, json: Bytes, member: JOSEValue?) throws {
        let object = try JOSEObject(json: json)
        #expect(object["a"] == member)
        #expect(try JOSEObject(json: Bytes(object.json)) == object)
    }

    static let wrong: [(name: String, json: [UInt8])] =
        [
            ("nothing", ""), ("a word", "true"), ("open", "{"), ("a comma at the end", #"{"a":1,}"#),
            ("a comma first", #"{,"a":1}"#),
            ("no colon", #"{"a" 1}"#), ("no value", #"{"a":}"#), ("a bare name", "{a:1}"), ("single quotes", "{'a':1}"),
            ("an open text", #"{"a":"b"#), ("an open escape", #"{"a":"\"#), ("an unknown escape", #"{"a":"\x"}"#),
            ("short hex", #"{"a":"\u00e"}"#), ("no hex", #"{"a":"\u00eg"}"#), ("a lone high half", #"{"a":"\ud83d"}"#),
            ("a lone low half", #"{"a":"\ude00"}"#), ("halves swapped", #"{"a":"\ude00\ud83d"}"#),
            ("two high halves", #"{"a":"\ud83d\ud83d"}"#), ("a bare control", "{\"a\":\"\n\"}"),
            ("a leading zero", #"{"a":01}"#), ("a plus", #"{"a":+1}"#), ("a bare minus", #"{"a":-}"#),
            ("a bare point", #"{"a":1.}"#),
            ("a leading point", #"{"a":.5}"#), ("a bare exponent", #"{"a":1e}"#), ("NaN", #"{"a":NaN}"#),
            ("hex number", #"{"a":0x1}"#),
            ("a cut word", #"{"a":tru}"#), ("a long word", #"{"a":truer}"#), ("a comment", #"{"a":1/**/}"#),
            ("twice", #"{"a":1,"a":1}"#),
            ("an open list", #"{"a":["b"}"#), ("a wrong close", #"{"a":{"b":1]}"#),
            ("too deep", #"{"a":[[[[[[[[[1]]]]]]]]]}"#),
            ("a byte order mark", "\u{FEFF}{}"), ("two objects", "{}{}"),
        ].map { ($0.0, Array($0.1.utf8)) } + [
            ("no UTF-8", Array(#"{"a":""#.utf8) + [0xFF] + Array(#""}"#.utf8)),
            ("an overlong slash", Array(#"{"a":""#.utf8) + [0xC0, 0xAF] + Array(#""}"#.utf8)),
            ("a half in UTF-8", Array(#"{"a":""#.utf8) + [0xED, 0xA0, 0x80] + Array(#""}"#.utf8)),
            ("65 members", Array("{\((0..<65).map { "\"\($0)\":1" }.joined(separator: ","))}".utf8)),
        ]

    @Test(arguments: wrong) func otherInputIsRefused(name: String, json: [UInt8]) {
        #expect(throws: JWTError.malformed) { try JOSEObject(json: Bytes(json)) }
    }

    @Test func membersKeepTheirPlaceAndAreDistinct() {
        var object: JOSEObject = ["b": "1", "a": "2", "b": "3"]
        #expect(Bytes(object.json) == #"{"b":"3","a":"2"}"#)
        object["b"] = nil
        object["c"] = .text(Bytes([0x22, 0x01, 0xFF]))
        #expect(Bytes(object.json) == "{\"a\":\"2\",\"c\":\"\\\"\\u0001\u{FFFD}\"}")
    }
}
